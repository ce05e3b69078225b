"""Files cut into pieces: the same records with the same numbers as the file read whole, wherever the cuts fall."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.core.errors import DataError
from metier.prepare.reading import pieces
from metier.prepare.reading.find import find
from metier.prepare.reading.pieces import Reading, can_be_cut, cut
from metier.prepare.reading.records import records
from metier.prepare.reading.settings import ReadSettings
from metier.text.formats import Recognised

FOUND = Recognised(format="text", columns={"text": "text"})
LONGEST = 1_000_000


def read_in_pieces(path: Path) -> list:
    (file,) = find(str(path), "train", path.parent, ReadSettings(layout="json"), "auto")
    assert can_be_cut(file, "auto", ReadSettings())
    reading = Reading(name=file.name, role="train", layout="json", recognised=FOUND, longest=LONGEST)
    return [record for piece in cut(file.parts[0], reading, lambda count: None) for record in piece.records()]


def read_whole(path: Path) -> list:
    (file,) = find(str(path), "train", path.parent, ReadSettings(layout="json"), "auto")
    return list(records(file, "auto", ReadSettings(longest=1), lambda count: None))


LINES = st.lists(
    st.sampled_from(['{"text": "añb"}', '{"text": "\U0001f40d"}', "", "  ", "{broken", "[1, 2]", "\ufeff"])
)
ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\r\r\n"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(LINES, ENDS), min_size=1, max_size=8), st.integers(1, 40), st.booleans())
def test_wherever_the_cuts_fall_the_records_are_those_of_the_whole_file(tmp_path_factory, parts, block, marked):
    text = '{"text": "first"}\n{"text": "second"}\n' + "".join(end.join([*lines, ""]) for lines, end in parts)
    path = tmp_path_factory.mktemp("cut") / "t.jsonl"
    path.write_bytes((b"\xef\xbb\xbf" if marked else b"") + text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_BLOCK", block)
        assert read_in_pieces(path) == read_whole(path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_that_is_too_long_is_not_held_and_the_next_ones_keep_their_numbers(tmp_path, monkeypatch, end):
    monkeypatch.setattr(pieces, "_BLOCK", 1 << 16)
    rows = ['{"text": "a"}', '{"text": "b"}', json.dumps({"text": "é" * (3 << 19)}), '{"text": "c"}', '{"text": "d"}']
    path = tmp_path / "t.jsonl"
    path.write_text(end.join(rows), encoding="utf-8", newline="")
    (file,) = find(str(path), "train", tmp_path, ReadSettings(layout="json"), "auto")
    reading = Reading(name="t.jsonl", role="train", layout="json", recognised=FOUND, longest=LONGEST)
    found = list(cut(file.parts[0], reading, lambda count: None))
    if end != "\r":  # a carriage return may be half of a line end: up to a block more waits for what follows
        assert max(len(piece.data) for piece in found) < 3 << 19
    told = [(record.line, record.problem) for piece in found for record in piece.records()]
    assert told == [(1, ""), (2, ""), (3, "a record that is too long"), (4, ""), (5, "")]


def test_bytes_that_are_not_utf_8_are_named_by_their_line_in_any_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "_BLOCK", 16)
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"text": "a"}\n' * 20 + b'{"text": "caf\xe9"}\n' + b'{"text": "b"}\n')
    with pytest.raises(DataError, match=r"t.jsonl:21: byte 0xe9 is not UTF-8"):
        read_in_pieces(path)


@pytest.mark.parametrize(
    ("name", "content", "encoding"),
    [
        ("list.json", b'[{"text": "a"},\n {"text": "b"}]\n', "auto"),
        ("object.json", b'{"data": [\n{"text": "a"}]}\n', "auto"),
        ("wide.jsonl", '{"text": "a"}\n{"text": "b"}\n'.encode("utf-16"), "auto"),
        ("latin.jsonl", b'{"text": "caf\xe9"}\n{"text": "b"}\n', "latin-1"),
        ("table.csv", b"text,label\na,b\n", "auto"),
    ],
)
def test_what_is_no_utf_8_with_one_value_a_line_is_not_cut(tmp_path, name, content, encoding):
    (tmp_path / name).write_bytes(content)
    (file,) = find(name, "train", tmp_path, ReadSettings(), encoding)
    assert not can_be_cut(file, encoding, ReadSettings())
