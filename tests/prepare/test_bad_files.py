"""Files that cannot be read as a whole: found, wanted, do; and nothing is half-written."""

import gzip
import json
import os

import pytest

from tests.prepare.workshop import refused, rows, tickets

GOOD = [json.dumps(row) for row in tickets(30)]


def test_missing_file_names_the_nearest(workshop):
    workshop.lines("data/tickets.jsonl", tickets(3))
    message = refused(workshop, "data/tikets.jsonl")
    assert message == "data/tikets.jsonl: no such file; wanted: a data file; do: did you mean 'tickets.jsonl'?"


def test_missing_file_in_a_missing_folder(workshop):
    message = refused(workshop, "nowhere/t.jsonl")
    assert "nowhere/t.jsonl: no such file" in message
    assert str(workshop.folder / "nowhere" / "t.jsonl") in message


def test_a_folder_without_data(workshop):
    workshop.write("data/picture.png", "x")
    assert "data: a folder without data in it" in refused(workshop, "data")


def test_what_is_neither_file_nor_folder(workshop):
    os.mkfifo(workshop.folder / "pipe.jsonl")
    assert "neither a file nor a folder" in refused(workshop, "pipe.jsonl")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(workshop):
    (workshop.folder / workshop.lines("t.jsonl", tickets(3))).chmod(0)
    assert "may not be read" in refused(workshop, "t.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("t.jsonl", b"", "t.jsonl: empty (0 bytes)"),
        ("t.jsonl", b"\n \r\n\t\n", "t.jsonl: no rows"),
        ("t.json", b"[]", "t.json: no rows"),
        ("t.csv", b"text,label\n", "t.csv: no rows"),
        ("t.csv", b"\n\n", "t.csv: no rows"),
        ("t.jsonl.gz", gzip.compress(b"", mtime=0), "t.jsonl.gz: no rows"),
        ("t.jsonl", b"\xef\xbb\xbf", "t.jsonl: no rows"),
    ],
)
def test_empty_files(workshop, name, content, found):
    assert refused(workshop, workshop.write(name, content)).startswith(found)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_an_empty_held_out_file_is_refused_too(workshop, split):
    data = {"train": workshop.lines("t.jsonl", tickets(30)), split: workshop.write("h.jsonl", "\n")}
    assert refused(workshop, data).startswith("h.jsonl: no rows")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("layout", ["jsonl", "csv", "json"])
def test_marked_encodings_are_read(workshop, encoding, layout):
    records = [{"text": f"Straße № {n} 😀", "label": "ä"} for n in range(20)]
    text = {
        "jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in records),
        "json": json.dumps(records, ensure_ascii=False),
        "csv": "text,label\r\n" + "".join(f"{row['text']},{row['label']}\r\n" for row in records),
    }[layout]
    result = workshop.prepare(workshop.write(f"t.{layout}", text.encode(encoding)))
    row = rows(result)["train"][0]
    assert row.text.startswith("Straße №")
    assert row.text.endswith("😀")


def test_latin_1_is_refused_with_line_byte_and_advice(workshop):
    lines = [*GOOD[:4], '{"text": "caf\u00e9 cr\u00e8me", "label": "x"}', *GOOD[4:]]
    name = workshop.write("t.jsonl", "\n".join(lines).encode("latin-1"))
    message = refused(workshop, name)
    assert message.startswith(
        't.jsonl:5: byte 0xe9 is not UTF-8 (after \'{"text": "caf\'); wanted: UTF-8 text; do: save'
    )
    assert "prepare.read.encoding" in message
    result = workshop.prepare(name, read={"encoding": "latin-1"})
    assert any(row.text == "café crème" for split in rows(result).values() for row in split)


def test_latin_1_csv_is_refused_with_its_line(workshop):
    name = workshop.write("t.csv", "text,label\nfine,a\ncaf\u00e9,b\n".encode("cp1252"))
    assert refused(workshop, name).startswith("t.csv:3: byte 0xe9 is not UTF-8")


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark(workshop, codec):
    name = workshop.write("t.jsonl", "\n".join(GOOD).encode(codec))
    message = refused(workshop, name)
    assert f"every other byte is 0; wanted: UTF-8 text; do: if it is UTF-16: prepare.read.encoding: {codec}" in message
    assert workshop.prepare(name, read={"encoding": codec}).rows_in == 30


def test_text_that_is_not_in_the_named_encoding(workshop):
    name = workshop.write("t.jsonl", "\n".join(GOOD) + "\u00e9")
    assert "t.jsonl: not ascii text" in refused(workshop, name, read={"encoding": "ascii"})


def test_truncated_utf_16(workshop):
    name = workshop.write("t.jsonl", "\n".join(GOOD).encode("utf-16")[:-1])
    assert "not utf-16 text" in refused(workshop, name)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_kind_count_the_same(workshop, ending):
    result = workshop.prepare(workshop.write("t.jsonl", ending.join(GOOD)))
    assert rows(result)["train"][0].source.startswith("t.jsonl:")
    assert {row.source for split in rows(result).values() for row in split} == {f"t.jsonl:{n}" for n in range(1, 31)}


def test_mixed_line_ends_and_empty_lines(workshop):
    text = GOOD[0] + "\r\n\r\n" + GOOD[1] + "\r" + GOOD[2] + "\n\n" + "\n".join(GOOD[3:])
    result = workshop.prepare(workshop.write("t.jsonl", text))
    sources = {row.text: row.source for split in rows(result).values() for row in split}
    assert sources["message number 1"] == "t.jsonl:3"
    assert sources["message number 2"] == "t.jsonl:4"
    assert sources["message number 3"] == "t.jsonl:6"


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("t.png", b"\x89PNG\r\n", "t.png: a picture"),
        ("t", b"a\0b\0\1", "t: every other byte is 0"),
        ("t", b"abcdefgh\0", "t: bytes that are no text"),
        ("t.xml", b"Once upon a time.", "t.xml: broken XML"),
        ("t.db", b"SQLite format 3\0", "an SQLite database; wanted: JSON"),
        ("t.bin", b"\x80\x04\x95", "a pickle, which is never read"),
    ],
)
def test_unknown_kinds_of_file(workshop, name, content, found):
    assert found in refused(workshop, workshop.write(name, content))


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("t.csv", b"PK\x03\x04xxxx", "damaged ZIP data"),
        ("t.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1xxxx", "damaged workbook"),
        ("t.jsonl", b"%PDF-1.7", "damaged PDF"),
        ("t.jsonl.zst", b"\x28\xb5\x2f\xfdxxxx", "damaged zstd data"),
        ("t.jsonl.gz", b'{"text": "x"}', "not compressed, whatever its name says"),
        ("t.parquet", b"text,label", "not Parquet inside"),
        ("t.parquet", b"PAR1 and then nothing", "damaged Parquet data"),
        ("t.jsonl.gz", gzip.compress("\n".join(GOOD * 100).encode(), mtime=0)[:200], "damaged gzip data"),
        ("t.jsonl.gz", gzip.compress(b"x" * 1000, mtime=0)[:-8] + b"12345678", "damaged gzip data"),
        ("t.jsonl.gz", b"\x1f\x8b\x08 no", "damaged gzip data"),
    ],
)
def test_files_that_are_not_what_their_names_say(workshop, name, content, found):
    assert found in refused(workshop, workshop.write(name, content))


def test_compressed_data_without_the_ending_are_read(workshop):
    assert workshop.prepare(workshop.write("t.jsonl", gzip.compress("\n".join(GOOD).encode()))).rows_in == 30


def test_a_file_that_changes_while_it_is_read(workshop):
    name = workshop.lines("t.jsonl", tickets(40))
    path = workshop.folder / name

    class Meddler(type(workshop.heard)):
        def chose(self, choice):
            path.write_bytes(path.read_bytes()[:-2] + b"!\n")

    workshop.heard = Meddler()
    assert "t.jsonl: changed while it was being read" in refused(workshop, name)
