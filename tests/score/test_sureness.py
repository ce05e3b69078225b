"""From log-probabilities of labels to calibration error and Brier score, by hand."""

import numpy as np
import pytest

from metier.score import calibration, sureness

HALVES = np.log([[0.5, 0.25, 0.25]] * 4)


def test_a_worked_example() -> None:
    found = sureness.of_logs(HALVES, np.array([0, 0, 1, -1]))
    assert found[sureness.CONFIDENCE] == pytest.approx([0.5] * 4)
    assert found[sureness.HELD].tolist() == [1, 1, 0, 0]
    assert found[sureness.BRIER] == pytest.approx([0.375, 0.375, 0.875, 1.375])
    sums = {name: table.sum(axis=0) for name, table in sureness.columns(found).items()}
    assert sums["brier"] == pytest.approx([3.0, 4.0])
    assert calibration.expected_error(sums["ece"]) == pytest.approx(0.0)
    sharper = sureness.of_logs(8 * HALVES, np.array([0, 0, 1, -1]))
    confidence = 0.5**8 / (0.5**8 + 2 * 0.25**8)
    error = calibration.expected_error(sureness.columns(sharper)["ece"].sum(axis=0))
    assert error == pytest.approx(confidence - 0.5)


def test_labels_share_the_whole_however_unlikely_they_all_are() -> None:
    found = sureness.of_logs(HALVES - 2000, np.array([0, 0, 1, -1]))
    assert found[sureness.CONFIDENCE] == pytest.approx([0.5] * 4)


def test_a_row_that_was_not_asked_counts_nowhere() -> None:
    found = sureness.of_logs(HALVES, np.array([0, 0, 1, 2]))
    asked = np.array([1.0, 1.0, 0.0, 1.0])
    for table in sureness.columns({name: values * asked for name, values in found.items()}).values():
        assert not table[2].any()
        assert table[[0, 1, 3]].any(axis=1).all()
    alone = sureness.columns({name: values[[0, 1, 3]] for name, values in found.items()})
    both = sureness.columns({name: values * asked for name, values in found.items()})
    assert all(np.array_equal(both[name][[0, 1, 3]], alone[name]) for name in alone)
