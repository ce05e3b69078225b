import numpy as np
import pytest

from metier.score.classify import confusions, counts, labels_of, macro_f1, micro_f1, per_label

REFERENCES = ["a", "a", "a", "b", "b", "c"]
OUTPUTS = ["a", "b", " a ", "b", "rubbish", "a"]


def by_hand() -> dict[str, float]:
    return {"a": 2 * 2 / (2 * 2 + 1 + 1), "b": 2 * 1 / (2 * 1 + 1 + 1), "c": 0.0}


def test_macro_f1_is_the_mean_over_labels() -> None:
    table = counts(OUTPUTS, REFERENCES, labels_of(REFERENCES))
    assert table.shape == (6, 9)
    assert macro_f1(table.sum(axis=0)) == pytest.approx(np.mean(list(by_hand().values())))


def test_garbage_costs_recall_and_invents_no_label() -> None:
    table = counts(["rubbish"], ["a"], ("a", "b"))
    assert table.tolist() == [[0, 0, 0, 0, 1, 0]]


def test_macro_f1_works_on_many_sums_at_once_and_skips_absent_labels() -> None:
    sums = np.array([[2.0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0]])
    assert macro_f1(sums)[0] == pytest.approx(4 / 5)
    assert np.isnan(macro_f1(sums)[1])


def test_micro_f1() -> None:
    assert micro_f1(np.array([3.0, 1, 2])) == pytest.approx(6 / 9)
    assert np.isnan(micro_f1(np.zeros(3)))


def test_per_label() -> None:
    scores = {score.label: score for score in per_label(OUTPUTS, REFERENCES)}
    assert {label: score.f1 for label, score in scores.items()} == pytest.approx(by_hand())
    assert (scores["a"].rows, scores["a"].right, scores["a"].recall) == (3, 2, pytest.approx(2 / 3))
    assert scores["b"].precision == pytest.approx(1 / 2)
    assert scores["c"].precision is None
    assert per_label([], []) == ()


def test_confusions_are_ranked() -> None:
    found = confusions(["b", "b", "c", "a", "a"], ["a", "a", "a", "c", "a"], most=2)
    assert found == [("a", "b", 2), ("a", "c", 1)]
