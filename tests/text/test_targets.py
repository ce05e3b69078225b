"""Labels become numbers and back; what cannot be told apart is refused with its place."""

import json

import numpy as np
import pytest

from metier.core.errors import DataError
from metier.core.types import ChatRow, LabelledRow, Message, TextRow
from metier.text import targets
from metier.text.targets import Targets, fit


def row(label: str, answer: str = "label", number: int = 0) -> LabelledRow:
    return LabelledRow(id=f"r{number}", source=f"rows.jsonl:{number}", text="t", label=label, answer=answer)


def test_classes_are_sorted_and_one_of_them_is_right():
    found = fit([row("b"), row("a"), row("b")], "classify")
    assert found.labels == ("a", "b")
    assert found.vector(row("b")).tolist() == [0, 1]
    values = found.values(np.array([[0.0, np.log(3)]]))
    assert values[0] == pytest.approx([0.25, 0.75])
    assert found.answers(values) == ["b"]


def test_a_row_may_have_any_number_of_labels():
    rows = [row('["x","y"]', "labels"), row("[]", "labels"), row("z")]
    found = fit(rows, "multilabel")
    assert found.vectors(rows).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    values = found.values(np.array([[3.0, -3.0, 0.1], [-1.0, -1.0, -1.0]]))
    assert found.answers(values) == ['["x","z"]', "[]"]
    assert values[0, 0] == pytest.approx(1 / (1 + np.exp(-3)))


def test_numbers_are_standardised_and_come_back():
    rows = [row("1", "score"), row("3", "score"), row("8", "score")]
    found = fit(rows, "regress")
    vectors = found.vectors(rows)
    assert (vectors.mean(), vectors.std()) == (pytest.approx(0, abs=1e-6), pytest.approx(1))
    assert found.values(vectors)[:, 0] == pytest.approx([1, 3, 8], rel=1e-6)
    assert found.answers(np.array([[3.5]])) == ["3.5"]


def test_the_last_answer_of_a_conversation_is_its_label():
    turns = (Message(role="user", content="q"), Message(role="assistant", content=" yes "))
    chat = ChatRow(id="c", source="c:1", messages=turns)
    assert fit([chat, row("no")], "classify").labels == ("no", "yes")


@pytest.mark.parametrize(
    ("rows", "kind", "found"),
    [
        ([row("a"), row("a")], "classify", "all 2 training rows have the label 'a'; wanted: at least two labels"),
        ([row("[]", "labels")], "multilabel", "none of 1 training rows has a label"),
        ([row("high", number=4)], "regress", "rows.jsonl:4: label 'high'; wanted: a number; do: set train.objective"),
        ([row("nan")], "regress", "wanted: a number"),
        ([row("2", "score"), row("2", "score")], "regress", "all 2 training rows have the score 2"),
        ([row('["a"]', "labels")], "classify", "a list of labels .* do: set train.objective: multilabel"),
        ([row("3.5", "score")], "multilabel", "a number 3.5; wanted: a list of labels"),
        ([TextRow(id="t", source="t:1", text="t")], "classify", "t:1: no label"),
    ],
)
def test_what_cannot_be_learnt_is_refused(rows, kind, found):
    with pytest.raises(DataError, match=found):
        fit(rows, kind)


def test_a_label_that_was_never_learnt_is_refused():
    known = fit([row("a"), row("b")], "classify")
    with pytest.raises(DataError, match=r"rows.jsonl:7: label 'c' stands in no training row; wanted: one of the 2 lab"):
        known.vector(row("c", number=7))


def test_head_json_keeps_everything(tmp_path):
    head = Targets(kind="regress", labels=("score",), mean=3.25, spread=0.1)
    targets.write(head, tmp_path)
    assert targets.read(tmp_path) == head
    (tmp_path / "head.json").write_text(json.dumps({"kind": "regress"}))
    with pytest.raises(DataError, match="not a head"):
        targets.read(tmp_path)
    assert targets.read(tmp_path / "elsewhere") is None
