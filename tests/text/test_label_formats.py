"""Lists of labels and numbers beside texts are recognised, read and refused with their reason."""

import pytest

from metier.core.types import Dropped, LabelledRow, TextRow
from metier.text.formats import recognise, to_row
from metier.text.rows import label_of


def read(record, **settings):
    return to_row(record, recognise([record], **settings), source="t.jsonl:1")


@pytest.mark.parametrize(
    ("record", "label", "answer"),
    [
        ({"text": "t", "label": ["b", "a", "b"]}, '["a","b"]', "labels"),
        ({"text": "t", "labels": []}, "[]", "labels"),
        ({"text": "t", "labels": '["a", 2]'}, '["2","a"]', "labels"),
        ({"text": "t", "label": "[draft] a"}, "[draft] a", "label"),
        ({"text": "t", "score": 3.5}, "3.5", "score"),
        ({"text": "t", "score": 4}, "4", "score"),
        ({"review": "t", "stars": "4.25"}, "4.25", "score"),
        ({"text": "t", "rating": 0.1 + 0.2}, "0.30000000000000004", "score"),
    ],
)
def test_what_stands_beside_a_text(record, label, answer):
    row = read(record)
    assert isinstance(row, LabelledRow)
    assert (row.text, row.label, row.answer) == ("t", label, answer)
    assert label_of(row) == (label if answer == "label" else None)


def test_kinds_of_labels_give_other_ids():
    ids = {read(record).id for record in ({"text": "t", "score": 3}, {"text": "t", "label": "3"})}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"text": "t", "score": "good"}, "'score' is not a number"),
        ({"text": "t", "score": True}, "'score' is not a number"),
        ({"text": "t", "score": "inf"}, "'score' is not a number"),
        ({"text": "t", "score": None}, "'score' is missing"),
        ({"text": "t", "label": ["a", ""]}, "'label' holds an empty name"),
        ({"text": "t", "label": ["a", None]}, "'label' is not a name"),
    ],
)
def test_bad_labels_are_dropped_with_their_reason(record, reason):
    row = read(record)
    assert isinstance(row, Dropped)
    assert row.reason == reason


def test_a_quality_score_beside_other_columns_is_no_task():
    """Collections of documents carry scores; they are texts unless somebody says otherwise."""
    record = {"text": "t", "score": 0.9, "url": "u", "dump": "d"}
    assert isinstance(read(record), TextRow)
    assert read(record, columns={"score": "score"}).answer == "score"
    assert read(record, wanted="score").answer == "score"
    assert read({"id": 1, "text": "t", "score": 0.9}).answer == "score"
