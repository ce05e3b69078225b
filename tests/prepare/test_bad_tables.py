"""Lists, CSV and Parquet that are broken, ragged or odd: found, wanted, do, and the line."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as arrow
import pyarrow.parquet as arrow_parquet
import pytest

from metier.core.errors import DataError
from tests.prepare.workshop import dropped, refused, rows, tickets

GOOD = [json.dumps(row) for row in tickets(30)]
CSV = "text,label\n" + "".join(f"row {n},a\n" for n in range(30))


def test_one_object_over_many_lines(workshop):
    message = refused(workshop, workshop.write("t.json", json.dumps({"a": {"text": "x"}}, indent=2)))
    assert message.startswith("t.json: one JSON object that holds no rows (a); wanted: a list of objects")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"text": "a"}, {"text": "b"\n\n "label": 3}]', r"t\.json:3: broken JSON \(Expecting ',' delimiter"),
        ('[{"text": "a"},\n {"text": "b"}', r"t\.json:2: broken JSON \(the list never ends\)"),
        ('[{"text": "a"},\n', r"t\.json:2: broken JSON"),
        ('[{"text": "a"}\n{"text": "b"}]', r"""t\.json:2: broken JSON \('{"text": "b"}\]' after an element"""),
        ('[{"text": "a"},\n{"text": "b"}]\nand more', "text after the end of the list"),
        ('[{"text": ' + "[" * 100_000 + "\n", r"t\.json:1: nested too deeply"),
        ('[{"text": ' + "9" * 5000 + "\n}]", r"t\.json:1: broken JSON"),
    ],
)
def test_broken_lists(workshop, text, message):
    with pytest.raises(DataError, match=message):
        workshop.prepare(workshop.write("t.json", text))


def test_bad_elements_of_a_list_are_dropped(workshop):
    elements = [*GOOD, "7", '{"text": "x", "text": "y"}', "NaN"]
    result = workshop.prepare(workshop.write("t.json", "[\n" + ",\n".join(elements) + "\n]"))
    rows(result)
    assert result.dropped == {"not a JSON object": 1, "not strict JSON": 2}
    assert [item.source for item in dropped(result)] == ["t.json:32", "t.json:33", "t.json:34"]


def test_json_lines_that_are_called_json_and_a_list_that_is_called_jsonl(workshop):
    assert workshop.prepare(workshop.write("lines.json", "\n".join(GOOD))).rows_in == 30
    assert workshop.prepare(workshop.write("list.jsonl", "[" + ", ".join(GOOD) + "]\n")).rows_in == 30
    assert workshop.prepare(workshop.write("tall.jsonl", "[" + ",\n".join(GOOD) + "]\n")).rows_in == 30


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        ("only one\n", "wrong number of fields", "1, the header has 2"),
        ("one,two,three\n", "wrong number of fields", "3, the header has 2"),
        ('"quoted" and more,a\n', "not CSV", "expected after"),
        (",a\n", "'text' is empty", ""),
        ("x,\n", "'label' is empty", ""),
    ],
)
def test_one_bad_line_of_csv(workshop, line, reason, detail):
    result = workshop.prepare(workshop.write("t.csv", CSV + line + "last,b\n"))
    rows(result)
    (item,) = dropped(result)
    assert (item.source, item.reason) == ("t.csv:32", reason)
    assert detail in item.detail


def test_csv_lines_are_counted_through_quoted_line_ends(workshop):
    text = '\n\ntext,label\n"two\nlines",a\n\nlast,b\n' + CSV.partition("\n")[2]
    found = {
        row.text: row.source
        for split in rows(workshop.prepare(workshop.write("t.csv", text))).values()
        for row in split
    }
    assert found["two\nlines"] == "t.csv:4"
    assert found["last"] == "t.csv:7"


def test_csv_with_an_open_quotation_mark(workshop):
    message = refused(workshop, workshop.write("t.csv", CSV + '"open,a\nnext,b\n'))
    assert "t.csv:32: a quotation mark opened there is never closed" in message


def test_csv_without_a_header(workshop):
    message = refused(workshop, workshop.write("t.csv", "I lost my card,card_lost\nWhere is it?,card_arrival\n"))
    assert "no known format (columns: 'I lost my card', 'card_lost')" in message


def test_csv_with_one_name_twice(workshop):
    assert "1 columns stand there twice: 'text'" in refused(workshop, workshop.write("t.csv", "text,text\na,b\n"))


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_csv_with_other_delimiters(workshop, delimiter):
    name = workshop.write("t.csv", CSV.replace(",", delimiter))
    assert rows(workshop.prepare(name))["train"][0].label == "a"


def test_csv_with_a_nameless_index_and_large_fields(workshop):
    text = ",text,label\n" + "".join(f'{n},"{n} {"long " * 40_000}",a\n' for n in range(8))
    assert len(rows(workshop.prepare(workshop.write("t.csv", text)))["train"][0].text) > 131_072


def test_formulas_in_csv_stay_text_and_are_flagged(workshop):
    result = workshop.prepare(workshop.write("t.csv", CSV + '"=HYPERLINK(""http://x"")",a\n'))
    assert '=HYPERLINK("http://x")' in {row.text for split in rows(result).values() for row in split}
    (flag,) = [json.loads(line) for line in (result.path / "decisions.jsonl").read_text().splitlines()]
    assert (flag["source"], flag["action"]) == ("t.csv:32", "flag")
    assert flag["reason"] == "a spreadsheet's formula instead of its value"


def test_parquet_cells_that_json_cannot_hold(workshop):
    columns = {
        "text": [f"t {n}" for n in range(30)],
        "label": ["a"] * 30,
        "score": [float("nan")] * 29 + [float("inf")],
        "picture": [None] * 28 + [b"\xff", None],
    }
    arrow_parquet.write_table(arrow.table(columns), workshop.folder / "t.parquet")
    result = workshop.prepare("t.parquet")
    rows(result)
    assert result.dropped == {"a cell that JSON cannot hold": 2}


def test_parquet_dates_and_numbers_are_kept_as_text(workshop):
    columns = {"text": [f"t {n}" for n in range(30)], "label": [Decimal("1.50")] * 30}
    columns["when"] = [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)] * 30
    arrow_parquet.write_table(arrow.table(columns), workshop.folder / "t.parquet")
    assert rows(workshop.prepare("t.parquet"))["train"][0].label == "1.50"
