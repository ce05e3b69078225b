"""Rows out of a snapshot, and what may be asked of them."""

import json

import pytest

from metier.core import artefact
from metier.core.errors import DataError
from metier.core.types import ChatRow, LabelledRow, Message, PreferenceRow, TextRow
from metier.text.rows import free_name, input_text, iterate, kind, label_of, load_split, restore

COMMON = {"id": "1", "source": "t.jsonl:1"}
TURNS = (Message(role="system", content="s"), Message(role="user", content="q"), Message(role="assistant", content="a"))
CHAT = ChatRow(messages=TURNS, **COMMON)
LABELLED = LabelledRow(text="t", label="l", **COMMON)
TEXT = TextRow(text="t", **COMMON)
PREFERENCE = PreferenceRow(prompt=TURNS[:2], chosen=TURNS[2:], rejected=TURNS[2:], **COMMON)


def snapshot(folder, lines, *, sources=None):
    sources = sources or {"t.jsonl": {"format": "label", "columns": {"text": "text", "label": "label"}}}
    with artefact.publish(folder / "s", kind="snapshot", facts={"sources": sources}) as temporary:
        (temporary / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "s"


def test_rows_keep_the_id_and_source_they_were_given(tmp_path):
    path = snapshot(tmp_path, [{"id": "abc-1", "source": "t.jsonl:7", "text": "a:b", "label": 3}])
    assert load_split(path, "train") == [LabelledRow(id="abc-1", source="t.jsonl:7", text="a:b", label="3")]
    assert list(iterate(path, "train")) == load_split(path, "train")


def test_each_file_keeps_its_own_format(tmp_path):
    sources = {
        "a:b.csv": {"format": "label", "columns": {"text": "text", "label": "label"}},
        "c.jsonl": {"format": "text", "columns": {"text": "body"}},
    }
    lines = [
        {"id": "1", "source": "a:b.csv:2", "text": "x", "label": "l"},
        {"id": "2", "source": "c.jsonl:1", "body": "y"},
    ]
    assert kind(load_split(snapshot(tmp_path, lines, sources=sources), "train")) == "mixed"


def test_what_is_no_snapshot(tmp_path):
    with pytest.raises(DataError, match=r"no manifest\.json"):
        load_split(tmp_path / "nothing", "train")
    with artefact.publish(tmp_path / "other", kind="model"):
        pass
    with pytest.raises(DataError, match="a model"):
        load_split(tmp_path / "other", "train")


def test_a_split_that_is_not_there(tmp_path):
    path = snapshot(tmp_path, [])
    assert load_split(path, "train") == []
    with pytest.raises(DataError, match=r"no test\.jsonl"):
        load_split(path, "test")


def test_a_file_that_was_edited(tmp_path):
    path = snapshot(tmp_path, [{"id": "1", "source": "t.jsonl:7", "text": "a", "label": "b"}])
    (path / "train.jsonl").write_text("")
    with pytest.raises(DataError, match="changed since it was written"):
        load_split(path, "train")


def test_a_line_that_is_no_row(tmp_path):
    path = snapshot(tmp_path, [{"id": "1", "source": "t.jsonl:7", "text": "", "label": "b"}])
    with pytest.raises(DataError, match=r"train\.jsonl:1: 'text' is empty \(from t\.jsonl:7\)"):
        load_split(path, "train")


@pytest.mark.parametrize("taken", [(), ("id_as_read",), ("id_as_read", "id_as_read_as_read")])
def test_moving_a_column_away_and_back(taken):
    record = {"id": "mine", **dict.fromkeys(taken, "older"), "text": "x"}
    moved = {free_name(record, "id") if name == "id" else name: value for name, value in record.items()}
    assert "id" not in moved
    restore(moved)
    assert moved == record


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([CHAT], "chat"),
        ([LABELLED, LABELLED], "label"),
        ([TEXT], "text"),
        ([PREFERENCE], "preference"),
        ([CHAT, TEXT], "mixed"),
    ],
)
def test_kind(rows, expected):
    assert kind(rows) == expected


def test_kind_of_nothing():
    with pytest.raises(DataError, match="no rows"):
        kind([])


def test_what_a_row_asks():
    assert [input_text(row) for row in (CHAT, PREFERENCE, LABELLED, TEXT)] == ["q", "q", "t", "t"]
    assert input_text(ChatRow(messages=TURNS[2:], **COMMON)) == "1"


def test_label_of():
    assert (label_of(LABELLED), label_of(CHAT)) == ("l", None)
