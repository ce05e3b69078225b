"""Whatever the file holds: an error that a person can read, or books that balance."""

import gzip
import json
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metier.core.errors import DataError
from metier.core.types import ChatRow
from tests.prepare.workshop import Workshop, rows

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
CELL = st.text(max_size=12) | st.sampled_from(["", " ", "=1+1", '"', "a,b", "two\nlines", "\r", "\0", "NaN", "ä", "😀"])
RECORD = st.fixed_dictionaries(
    {"text": CELL | ANY_JSON, "label": st.sampled_from(["a", "b", "", None, 1, 2.5])},
    optional={
        "id": ANY_JSON, "source": CELL, "id_as_read": CELL, "group": st.sampled_from(["g", "", None, 1]),
        "weight": st.sampled_from([1, 0, "2", "x", None]),
    },
)  # fmt: skip
LINE = st.one_of(
    RECORD.map(json.dumps),
    RECORD.map(lambda record: json.dumps(record, ensure_ascii=False).encode(errors="replace").decode()),
    ANY_JSON.map(json.dumps),
    st.text(max_size=20).map(lambda text: text.encode(errors="replace").decode()),
    st.sampled_from(
        ['{"text": NaN}', '{"text": "a", "text": "b"}', "{", "]", '"\\ud800"', '{"text": "\\udfff", "label": "a"}']
    ),
)
GARBAGE = st.one_of(
    st.binary(max_size=300),
    st.lists(LINE, max_size=40).map(lambda lines: "\n".join(lines).encode()),
    st.lists(LINE, max_size=40).map(lambda lines: ("[" + ",\r\n".join(lines) + "]").encode()),
    st.lists(LINE, max_size=20).map(lambda lines: "\r\n".join(lines).encode("utf-16")),
    st.lists(LINE, max_size=20).map(lambda lines: gzip.compress("\n".join(lines).encode(), mtime=0)),
    st.lists(LINE, max_size=20).map(lambda lines: gzip.compress("\n".join(lines).encode(), mtime=0)[:-5]),
    st.lists(st.lists(CELL, max_size=4).map(",".join), max_size=30).map(
        lambda lines: "\n".join(["text,label,id", *lines]).encode(errors="replace")
    ),
)
MANY = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
SOME = settings(MANY, max_examples=50)


@MANY
@given(GARBAGE, st.sampled_from(["t.jsonl", "t.json", "t.csv", "t.tsv", "t.parquet"]), st.booleans())
def test_rows_in_are_rows_out_and_rows_dropped_for_any_file(content, name, dedupe):
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(Path(folder))
        try:
            result = shop.prepare(shop.write(name, content), most_bad_share=1, dedupe=dedupe)
        except DataError as error:
            assert error.found  # noqa: PT017
            assert shop.snapshots() == []
        else:
            rows(result)


@SOME
@given(st.lists(LINE, max_size=30), st.lists(LINE, max_size=10))
def test_bad_lines_among_good_ones_cost_no_good_one(before, after):
    good = [json.dumps({"text": f"good row {number}", "label": "a"}) for number in range(200)]
    lines = [*good[:100], *before, *good[100:], *after]
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(Path(folder))
        result = shop.prepare(shop.write("t.jsonl", "\n".join(lines)), most_bad_share=1)
        texts = {row.text for part in rows(result).values() for row in part}
        assert {f"good row {number}" for number in range(200)} <= texts


TOOLS = st.lists(
    st.dictionaries(st.text(min_size=1, max_size=5), ANY_JSON, min_size=1, max_size=4), min_size=1, max_size=3
)


@SOME
@given(TOOLS, st.text(max_size=40), st.sampled_from(["jsonl", "json", "json-text"]))
def test_tools_and_arguments_come_out_as_they_went_in(tools, arguments, layout):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    answer = {"role": "assistant", "content": None, "tool_calls": [call]}
    records = [{"tools": tools, "messages": [{"role": "user", "content": f"q{number}"}, answer]} for number in range(4)]
    if layout == "json-text":
        records = [{name: json.dumps(value) for name, value in record.items()} for record in records]
    text = json.dumps(records, indent=1) if layout == "json" else "\n".join(map(json.dumps, records))
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(Path(folder))
        result = shop.prepare(shop.write("t.jsonl", text))
        for row in [row for part in rows(result).values() for row in part]:
            assert isinstance(row, ChatRow)
            assert json.dumps(row.tools) == json.dumps(tools)
            assert json.dumps(row.messages[1].tool_calls) == json.dumps([call])
