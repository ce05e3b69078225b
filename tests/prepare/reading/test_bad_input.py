"""Everything that a hostile or careless hand can put into a file, each with what is said of it."""

import gzip
import json
import zipfile

import pytest

from metier.core.errors import DataError
from metier.core.types import ChatRow
from metier.prepare.reading.stream import SMALL
from tests.prepare.workshop import dropped, refused, rows, tickets

GOOD = [json.dumps(row) for row in tickets(30)]
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASKED, SAID = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
CALLING = {"role": "assistant", "tool_calls": [CALL]}


def chats(count=30):
    return [{"messages": [{"role": "user", "content": f"q {n}"}, SAID]} for n in range(count)]


def test_mixed_line_endings(workshop):
    text = GOOD[0] + "\r\n" + GOOD[1] + "\r" + GOOD[2] + "\n\r\n" + "\n".join(GOOD[3:])
    result = workshop.prepare(workshop.write("t.jsonl", text))
    assert result.rows_in == 30
    assert "t.jsonl:5" in {row.source for split in rows(result).values() for row in split}


def test_a_mark_in_the_middle_where_two_files_were_put_together(workshop):
    text = "\ufeff" + GOOD[0] + "\n\ufeff" + GOOD[1] + "\n" + "\n".join(GOOD[2:])
    assert workshop.prepare(workshop.write("t.jsonl", text)).dropped == {}
    listed = "\ufeff[" + ",\n".join(GOOD) + "]"
    assert workshop.prepare(workshop.write("t.json", listed)).rows_in == 30


def test_utf_16(workshop):
    name = workshop.write("t.jsonl", "\n".join(GOOD).encode("utf-16-le"))
    assert "every other byte is 0; wanted: UTF-8 text; do: if it is UTF-16: prepare.read.encoding" in refused(
        workshop, name
    )
    assert (
        workshop.prepare(
            workshop.write("u.csv", ("text,label\n" + "".join(f"t{n},a\n" for n in range(18))).encode("utf-16"))
        ).rows_in
        == 18
    )


def test_half_a_character(workshop):
    result = workshop.prepare(workshop.write("t.jsonl", "\n".join([*GOOD, '{"text": "\\ud800", "label": "a"}'])))
    (item,) = dropped(result)
    assert (item.source, item.reason) == ("t.jsonl:31", "half a character (a lone surrogate)")


def test_nul_bytes(workshop):
    result = workshop.prepare(workshop.write("t.jsonl", "\n".join([*GOOD, '{"text": "x\0y", "label": "a"}'])))
    assert result.dropped == {"a NUL byte in the JSON": 1}
    result = workshop.prepare(
        workshop.write("t.csv", "text,label\n" + "".join(f"t{n},a\n" for n in range(20)) + "x\0,b\n")
    )
    assert result.dropped == {"a NUL byte in a field": 1}


def test_a_line_of_200_mb_is_passed_over_without_being_held(workshop, tmp_path):
    path = workshop.folder / "t.jsonl"
    with path.open("w", encoding="utf-8") as out:
        out.write("\n".join(GOOD[:15]) + "\n" + '{"text": "')
        for _ in range(200):
            out.write("x" * (1 << 20))
        out.write('"}\n' + "\n".join(GOOD[15:]))
    result = workshop.prepare("t.jsonl")
    (item,) = dropped(result)
    assert (item.source, item.reason) == ("t.jsonl:16", "a record that is too long")
    assert item.detail == "more than 67,108,864 characters"
    assert sum(result.counts.values()) == 30
    assert "t.jsonl:17" in {row.source for split in rows(result).values() for row in split}


def test_how_long_a_record_may_be_is_a_setting(workshop):
    name = workshop.lines("t.jsonl", [*tickets(30), {"text": "x" * (1 << 20), "label": "a"}])
    assert workshop.prepare(name, read={"longest": 1}).dropped == {"a record that is too long": 1}
    assert workshop.prepare(name).dropped == {}


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_json_with_what_is_no_number(workshop, value):
    result = workshop.prepare(workshop.write("t.jsonl", "\n".join([*GOOD, f'{{"text": "x", "label": {value}}}'])))
    assert result.dropped == {"not strict JSON": 1}


def test_duplicate_keys(workshop):
    result = workshop.prepare(workshop.write("t.json", f'[{",".join(GOOD)}, {{"text": "x", "text": "y"}}]'))
    (item,) = dropped(result)
    assert (item.reason, item.detail) == ("not strict JSON", "the key 'text' stands there twice")


def test_a_zip_bomb(workshop):
    packed = zipfile.ZipFile(workshop.folder / "t.zip", "w", zipfile.ZIP_DEFLATED)
    with packed as archive, archive.open("t.jsonl", "w") as out:
        for _ in range((SMALL >> 20) + 1):
            out.write(b" " * (1 << 20))
    assert "t.zip: unpacks to" in (message := refused(workshop, "t.zip"))
    assert "a decompression bomb; wanted: at most 200 times" in message


def test_a_gzip_bomb(workshop):
    with gzip.open(workshop.folder / "t.jsonl.gz", "wb") as out:
        out.write("\n".join(GOOD).encode() + b"\n")
        for _ in range((SMALL >> 20) + 1):
            out.write(b" " * (1 << 20) + b"\n")
    assert "a decompression bomb" in refused(workshop, "t.jsonl.gz")


@pytest.mark.parametrize("name", ["../t.jsonl", "/etc/t.jsonl", "a/../../t.jsonl", "C:\\t.jsonl", "..\\t.jsonl"])
def test_names_that_lead_out_of_an_archive(workshop, name):
    with zipfile.ZipFile(workshop.folder / "t.zip", "w") as archive:
        archive.writestr(name, "\n".join(GOOD))
    message = refused(workshop, "t.zip")
    assert "in it leads out of the archive; wanted: names below its root" in message


def test_formulas_in_csv(workshop):
    table = (
        "text,label\n" + "".join(f"t {n},a\n" for n in range(20)) + "=SUM(A1:A2),a\n-5 degrees,a\n+49 30,a\n@here,a\n"
    )
    result = workshop.prepare(workshop.write("t.csv", table))
    found = [json.loads(line) for line in (result.path / "decisions.jsonl").read_text().splitlines()]
    assert [(each["source"], each["action"], each["detail"]) for each in found] == [("t.csv:22", "flag", "=SUM(A1:A2)")]


def test_a_conversation_of_10_000_turns(workshop):
    turns = [{"role": ("user", "assistant")[n % 2], "content": f"turn {n}"} for n in range(10_000)]
    result = workshop.prepare(workshop.lines("t.jsonl", [{"messages": turns}, *chats()]))
    (row,) = [row for split in rows(result).values() for row in split if len(row.messages) > 2]
    assert isinstance(row, ChatRow)
    assert len(row.messages) == 10_000


@pytest.mark.parametrize(
    ("turns", "reason", "detail"),
    [
        ([ASKED, {"role": "system", "content": "s"}, SAID], "roles out of order: a system turn after others", "turn 2"),
        ([ASKED, CALLING, ASKED, SAID], "tool calls without their results", "turn 3 goes on"),
        ([ASKED, {"role": "tool", "content": "1"}, CALLING], "a tool's result that nobody called for", "turn 2"),
        ([ASKED, CALLING, {"role": "tool", "content": "1", "tool_call_id": "9"}, SAID],
         "a tool's result for another call", "turn 3: '9'"),
    ],
)  # fmt: skip
def test_turns_that_no_template_can_write(workshop, turns, reason, detail):
    result = workshop.prepare(workshop.lines("t.jsonl", [*chats(), {"messages": turns}]))
    (item,) = dropped(result)
    assert (item.source, item.reason, item.detail) == ("t.jsonl:31", reason, detail)


def test_calls_at_the_end_and_results_of_calls_written_as_text_are_fine(workshop):
    spoken = [ASKED, {"role": "assistant", "content": "<call>f</call>"}, {"role": "tool", "content": "1"}, SAID]
    extra = [{"messages": [ASKED, CALLING]}, {"messages": spoken}]
    assert workshop.prepare(workshop.lines("t.jsonl", [*chats(), *extra])).dropped == {}


def test_two_columns_that_could_be_the_label(workshop):
    name = workshop.lines("t.jsonl", [{"text": f"t {n}", "category": "a", "intent": "b"} for n in range(20)])
    assert "2 columns could be the label: 'category', 'intent'; wanted: one; do: say which" in refused(workshop, name)
    assert workshop.prepare(name, columns={"label": "intent"}).rows_in == 20


def test_nothing_but_copies(workshop):
    message = refused(workshop, workshop.lines("t.jsonl", [{"text": "same", "label": "a"}] * 50))
    assert message.startswith("1 different training row(s); dropped before: 49 × copy of another row (duplicates.exact")
    assert "; wanted: at least 3" in message


def test_labels_that_cannot_be_given_to_every_split(workshop):
    records = [*tickets(40), {"text": "odd", "label": "once"}]
    result = workshop.prepare(workshop.lines("t.jsonl", records))
    assert "1 label(s) seen once, so they cannot be learnt and tested: 'once'" in result.warnings
    result = workshop.prepare(workshop.lines("u.jsonl", [{"text": f"t {n}", "label": f"l {n}"} for n in range(40)]))
    assert any("cannot be learnt and tested" in warning for warning in result.warnings)


def test_a_list_that_is_longer_than_the_window_keeps_its_lines(workshop):
    records = [{"text": f"row {n} " + "x" * 500, "label": "a"} for n in range(1000)]
    text = json.dumps(records, indent=1)
    result = workshop.prepare(workshop.write("t.json", text), read={"longest": 1})
    for row in rows(result)["train"][:20]:
        line = int(row.source.rpartition(":")[2])
        assert row.text.startswith(json.loads("{" + text.split("\n")[line].strip().rstrip(",") + "}")["text"][:10])


def test_a_broken_element_far_into_a_list_names_its_line(workshop):
    records = ",\n".join(json.dumps({"text": "x" * 300, "label": str(n)}) for n in range(900))
    with pytest.raises(DataError, match=r"t\.json:901: broken JSON \(Expecting ':' delimiter in column"):
        workshop.prepare(workshop.write("t.json", "[" + records + ',\n{"text" 1}]'))
