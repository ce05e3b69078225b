"""Several models against one: who is better, and what chance among many looks would have called so."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from metier.evaluate.several import adjust, several
from tests.evaluate.conftest import Workplace
from tests.evaluate.test_compare import change


def copied(run: Path, number: int, answer: Callable[[str], str]) -> Path:
    """Another run, with other weights and other answers."""
    folder = Path(shutil.copytree(run, run.parent / f"colours-{number}"))
    change(folder, digest=f"weights {number}", answer=answer)
    return folder


class Wrong:
    """Answers as before but for the first `count` that say red."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __call__(self, text: str) -> str:
        if text == "red" and self.left:
            self.left -= 1
            return "blue"
        return text


def test_each_is_held_against_the_first_and_the_best_is_named_first(spoiled: Workplace) -> None:
    worse = copied(spoiled.run, 2, Wrong(1000))
    told = several(None, worse, spoiled.run)
    assert told.verdict.good is True
    assert told.verdict.text.startswith("better than base: colours-1 (+")
    assert told.command == "metier compare base colours-2 colours-1"
    (table,) = told.tables
    assert [row[0] for row in table.rows] == ["colours-2", "colours-1"]
    assert {row[1] for row in table.rows} == {"better"}
    (figure,) = told.figures
    assert figure.series[0].y[1] > figure.series[0].y[0] > 0
    (bars,) = figure.series
    assert bars.low is not None
    assert all(low < value for low, value in zip(bars.low, bars.y, strict=True))


def test_worse_and_identical_are_told_as_such(spoiled: Workplace) -> None:
    worse = copied(spoiled.run, 2, Wrong(1000))
    told = several(spoiled.run, worse, None, copied(spoiled.run, 3, lambda text: text))
    assert told.verdict.good is False
    assert "none of 3 is shown to be better than colours-1" in told.verdict.text
    assert [row[1] for row in told.tables[0].rows] == ["worse", "worse", "identical"]


def test_a_difference_that_chance_shows_among_many_is_not_called_one(spoiled: Workplace) -> None:
    """Eight rows lost and none gained: p = 0.008 alone, 0.055 among seven models."""
    few = [copied(spoiled.run, number, Wrong(8)) for number in range(2, 9)]
    alone = several(spoiled.run, few[0], copied(spoiled.run, 9, lambda text: text))
    assert alone.tables[0].rows[0][1] == "worse"
    among = several(spoiled.run, *few)
    assert {row[1] for row in among.tables[0].rows} == {"cannot tell"}
    assert among.verdict.good is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]), ([0.02, None], [0.02, None]), ([None], [None])],
)
def test_holm_leaves_out_what_has_no_test(values: list[float | None], expected: list[float | None]) -> None:
    assert adjust(values) == pytest.approx(expected)
