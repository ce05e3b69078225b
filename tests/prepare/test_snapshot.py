"""From files to a snapshot: every row accounted for, as it was read, and made only once."""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as arrow
import pyarrow.parquet as arrow_parquet
import pytest

from metier.core import artefact
from metier.core.errors import DataError
from metier.core.types import ChatRow, LabelledRow, TextRow
from metier.prepare.snapshot import report
from tests.prepare.workshop import SPLITS, Workshop, dropped, raw, raw_lines, rows, tickets

SHARED = Path(__file__).parents[3] / "shared" / "data"


def test_labelled_lines_become_three_splits(workshop):
    result = workshop.prepare(workshop.lines("tickets.jsonl", tickets(300)))
    found = rows(result)
    assert all(isinstance(row, LabelledRow) for split in SPLITS for row in found[split])
    assert 15 <= len(found["test"]) <= 45
    assert 15 <= len(found["validation"]) <= 45
    assert artefact.verify(result.path, "snapshot").digest == result.digest
    assert sorted(path.name for path in result.path.iterdir()) == sorted(
        [*(f"{split}.jsonl" for split in SPLITS), "decisions.jsonl", "manifest.json"]
    )
    assert result.path.parent == workshop.folder / ".metier" / "snapshots"
    assert len(result.path.name) == 16


def test_a_row_stands_in_the_snapshot_as_it_was_read_behind_id_and_source(workshop):
    lines = [
        f'{{"text":"n\\u00famero {n}",  "score": 1.10, "big": 1e5, "nested": {{"b": [1.0], "a": null}}}}'
        for n in range(40)
    ]
    result = workshop.prepare(workshop.write("t.jsonl", "\n".join(lines)))
    kept = [line for split in SPLITS for line in raw_lines(result, split)]
    for line in kept:
        value = json.loads(line)
        start = f'{{"id": "{value["id"]}", "source": "{value["source"]}", '
        assert line.startswith(start)
        number = int(value["source"].rpartition(":")[2])
        assert "{" + line.removeprefix(start) == lines[number - 1]
    assert len(kept) == 40


def test_columns_called_id_and_source_are_kept_and_can_be_used(workshop):
    records = [{"id": f"mine-{n}", "source": f"where it is {n}", "completion": f"at home {n}"} for n in range(30)]
    result = workshop.prepare(workshop.lines("t.jsonl", records), columns={"group": "id"})
    found = rows(result)
    line = raw(result, "train")[0]
    assert line["id_as_read"].startswith("mine-")
    assert line["source_as_read"].startswith("where")
    row = found["train"][0]
    assert isinstance(row, ChatRow)
    assert row.messages[0].content == line["source_as_read"]
    assert row.group == line["id_as_read"]
    assert row.source == line["source"]


def test_a_snapshot_can_be_prepared_again(workshop):
    first = workshop.prepare(workshop.lines("t.jsonl", [{"id": n, "text": f"line {n}"} for n in range(30)]))
    again = workshop.prepare(workshop.write("again.jsonl", (first.path / "train.jsonl").read_bytes()))
    assert rows(again)["train"][0].id in {row.id for row in rows(first)["train"]}
    third = workshop.prepare(workshop.write("third.jsonl", (again.path / "train.jsonl").read_bytes()))
    assert "id_as_read_as_read_as_read" in raw(third, "train")[0]
    rows(third)


def test_the_same_files_and_settings_are_not_prepared_twice(workshop):
    name = workshop.lines("t.jsonl", tickets(60))
    first, second = workshop.prepare(name), workshop.prepare(name)
    assert (first.reused, second.reused) == (False, True)
    assert (second.path, second.counts, second.digest) == (first.path, first.counts, first.digest)
    assert second.choices == first.choices


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"test_share": 0.2},
        {"dedupe": False},
        {"split": {"stratify": False}},
        {"max_rows": 20},
        {"columns": {"slice": "label"}},
    ],
)
def test_another_setting_is_another_snapshot(workshop, change):
    name = workshop.lines("t.jsonl", tickets(60))
    assert workshop.prepare(name).path != workshop.prepare(name, **change).path


def test_other_bytes_are_another_snapshot(workshop):
    first = workshop.prepare(workshop.lines("t.jsonl", tickets(60)))
    second = workshop.prepare(workshop.lines("t.jsonl", tickets(61)))
    assert not second.reused
    assert first.path != second.path


def test_two_folders_with_the_same_files_give_the_same_snapshot(tmp_path):
    one, two = Workshop(tmp_path / "one"), Workshop(tmp_path / "two")
    results = [shop.prepare(shop.lines("data/t.jsonl", tickets(60))) for shop in (one, two)]
    assert results[0].path.name == results[1].path.name
    assert results[0].digest == results[1].digest


def test_a_damaged_snapshot_is_not_taken_for_a_good_one(workshop):
    name = workshop.lines("t.jsonl", tickets(60))
    result = workshop.prepare(name)
    path = result.path / "train.jsonl"
    path.write_bytes(path.read_bytes().replace(b"message", b"massage", 1))
    with pytest.raises(DataError, match=r"train\.jsonl: changed since it was written"):
        workshop.prepare(name)


def test_files_that_are_named_are_taken_whole_and_leave_no_copy_in_training(workshop):
    training, test = tickets(90), [*tickets(10), *tickets(3)]
    result = workshop.prepare(
        {"train": workshop.lines("train.jsonl", training), "test": workshop.lines("test.jsonl", test)}
    )
    found = rows(result)
    assert len(found["test"]) == 13
    assert result.dropped == {"copy of a test row": 10}
    assert not {row.text for row in found["test"]} & {row.text for row in found["train"] + found["validation"]}
    first = dropped(result)[0]
    assert (first.source, first.detail) == ("train.jsonl:1", "the same as test.jsonl:1")


def test_copies_of_held_out_rows_never_train_even_without_dedupe(workshop):
    training = [*tickets(40), *tickets(40)]
    data = {"train": workshop.lines("t.jsonl", training), "validation": workshop.lines("v.jsonl", tickets(5))}
    result = workshop.prepare(data, dedupe=False)
    found = rows(result)
    assert result.dropped == {"copy of a validation row": 10}
    assert result.counts["train"] + result.counts["test"] == 70
    assert not {row.text for row in found["train"]} & {row.text for row in found["test"]}


def test_dedupe_keeps_the_first_and_says_where_it_is(workshop):
    result = workshop.prepare(workshop.lines("t.jsonl", [*tickets(30), *tickets(5)]))
    assert rows(result)
    assert result.dropped == {"copy of another row": 5}
    assert dropped(result)[0].source == "t.jsonl:31"
    assert dropped(result)[0].detail == "the same as t.jsonl:1"


def test_several_training_files_and_kinds_of_file(workshop):
    workshop.write("a.csv", "text,label\n" + "".join(f'"say ""{n}"", please",yes\n' for n in range(20)))
    workshop.write("b.json", json.dumps([{"text": f"b {n}", "label": "no"} for n in range(20)], indent=2))
    workshop.write("c.jsonl.gz", gzip.compress("".join(json.dumps(row) + "\r\n" for row in tickets(20)).encode()))
    table = arrow.table({"text": [f"d {n}" for n in range(20)], "label": [n % 2 for n in range(20)]})
    arrow_parquet.write_table(table, workshop.folder / "d.parquet")
    result = workshop.prepare({"train": ["a.csv", "b.json", "c.jsonl.gz", "d.parquet"]})
    found = {row.source: row for split in rows(result).values() for row in split}
    assert result.counts["train"] + result.counts["validation"] + result.counts["test"] == 80
    assert found["a.csv:2"].text == 'say "0", please'
    assert found["b.json:6"].text == "b 1"
    assert found["c.jsonl.gz:20"].text == "message number 19"
    assert (found["d.parquet:2"].text, found["d.parquet:2"].label) == ("d 1", "1")


def test_plain_text_rows(workshop):
    result = workshop.prepare(workshop.lines("t.jsonl", [{"text": f"A story, number {n}."} for n in range(50)]))
    assert all(isinstance(row, TextRow) for row in rows(result)["train"])


def test_tool_schemas_and_arguments_keep_their_bytes(workshop):
    arguments = '{"city":  "Z\\u00fcrich", "days": 1.0, "unit": null}'
    schema = {
        "type": "function",
        "function": {"name": "weather", "parameters": {"z": {"default": None}, "a": [], "b": {}}},
    }
    records = [
        {
            "tools": [schema, {"type": "function", "function": {"name": f"other{n}", "strict": True}}],
            "messages": [
                {"role": "user", "content": f"weather {n}?"},
                {"role": "assistant", "content": None, "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": arguments}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "cold"},
                {"role": "assistant", "content": "Cold."},
            ],
        }
        for n in range(20)
    ]  # fmt: skip
    row = rows(workshop.prepare(workshop.lines("t.jsonl", records)))["train"][0]
    assert isinstance(row, ChatRow)
    assert row.messages[1].tool_calls[0]["function"]["arguments"] == arguments
    assert json.dumps(row.tools[0]) == json.dumps(schema)
    assert list(row.tools[1]["function"]) == ["name", "strict"]


def test_parquet_does_not_add_nulls_to_tools(workshop):
    tools = [
        [{"name": "a", "parameters": {"city": {"type": "string"}}}],
        [{"name": "b", "parameters": {"days": {"type": "integer", "minimum": 1}}}],
    ] * 5
    talks = [
        [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": "a", "weight": n % 2 + 1}]
        for n in range(10)
    ]
    arrow_parquet.write_table(arrow.table({"messages": talks, "tools": tools}), workshop.folder / "t.parquet")
    found = [row for split in rows(workshop.prepare("t.parquet")).values() for row in split]
    for row in found:
        number = int(row.source.rpartition(":")[2]) - 1
        assert list(row.tools) == tools[number]


def test_messages_and_tools_as_json_text_in_a_table(workshop):
    tool = {"name": "a", "parameters": {"x": {"default": None}}}
    talks = [
        json.dumps([{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": "a"}]) for n in range(10)
    ]
    table = arrow.table({"messages": talks, "tools": [json.dumps([tool])] * 10})
    arrow_parquet.write_table(table, workshop.folder / "t.parquet")
    row = rows(workshop.prepare("t.parquet"))["train"][0]
    assert isinstance(row, ChatRow)
    assert row.tools == (tool,)


def test_what_was_recognised_is_told_with_its_reason(workshop):
    workshop.prepare(workshop.lines("t.jsonl", [{"query": f"q {n}", "intent": "a", "other": 1} for n in range(20)]))
    choice = workshop.heard.choices[0]
    assert (choice.name, choice.value) == ("format of t.jsonl", "label")
    assert choice.reason == "JSON, by its name; columns text = 'query', label = 'intent'; unused: other"


def test_format_can_be_named(workshop):
    name = workshop.lines("t.jsonl", tickets(30))
    assert isinstance(rows(workshop.prepare(name, format="text"))["train"][0], TextRow)
    with pytest.raises(DataError, match="not in the format 'chat'"):
        workshop.prepare(name, format="chat")


def test_max_rows_keeps_a_draw_that_more_rows_hardly_change(workshop):
    name = workshop.lines("t.jsonl", tickets(200))
    result = workshop.prepare(name, max_rows=50)
    kept = {row.id for split in rows(result).values() for row in split}
    assert len(kept) == 50
    assert result.dropped == {"over prepare.max_rows": 150}
    more = workshop.prepare(workshop.lines("more.jsonl", tickets(210)), max_rows=50)
    assert len(kept & {row.id for split in rows(more).values() for row in split}) > 40


def test_weight_slice_and_group_are_carried(workshop):
    records = [{"text": f"t {n}", "label": "a", "group": n // 2, "slice": "web", "weight": 2} for n in range(40)]
    row = rows(workshop.prepare(workshop.lines("t.jsonl", records)))["train"][0]
    assert row.group == str(int(row.text.split()[1]) // 2)
    assert (row.slice, row.weight) == ("web", 2.0)


def test_report_tells_what_came_in_and_what_went_where(workshop):
    name = workshop.lines(
        "t.jsonl", [*tickets(60), {"text": "", "label": "refund"}, *tickets(2), {"text": "x", "label": "rare"}]
    )
    told = report(workshop.prepare(name).path)
    assert told.verdict.text.startswith("64 rows in:")
    assert told.verdict.good is None
    tables = {table.title: table for table in told.tables}
    assert tables["Dropped"].rows[0][:3] == ("copy of another row", "duplicates.exact", 2)
    assert "t.jsonl:61" in str(tables["Dropped"].rows[1][4])
    assert tables["Labels"].columns == ("label", *SPLITS)
    assert "'rare'" in str(tables["Warnings"].rows)
    assert told.figures[0].kind == "bars"


def test_a_full_disk_leaves_nothing_behind_and_says_so(workshop):
    name = workshop.lines("t.jsonl", [{"text": " ".join(map(str, range(n, n + 200)))} for n in range(2000)])
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from tests.prepare.workshop import Workshop\n"
        "from metier.core.errors import DiskFullError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "try:\n"
        "    Workshop(Path(sys.argv[1])).prepare(sys.argv[2])\n"
        "except DiskFullError as error:\n"
        "    print(error)\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"}
    arguments = [sys.executable, "-c", script, str(workshop.folder), name]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
    assert "no file larger than 300,000 bytes" in done.stdout
    assert workshop.snapshots() == []


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data beside the repository")
@pytest.mark.parametrize(
    ("data", "settings", "kind", "most_dropped"),
    [
        ({"train": "banking77/train.csv", "test": "banking77/test.csv"}, {}, "label", 0.01),
        ("bitext-customer-support/bitext_support_subset.csv", {"columns": {"slice": "intent"}}, "alpaca", 0.01),
        ("rasbt-instructions/instruction-data.json", {}, "alpaca", 0.01),
        ("rasbt-instructions/instruction-data-with-preference.json", {}, "preference", 0.01),
        ("hh-rlhf-harmless-test/harmless-base/test.jsonl.gz", {}, "preference", 0.01),
        ("dolly-sample/dolly_sample.jsonl", {}, "completion", 0.01),
        ("e2e-nlg/devset.csv", {"columns": {"prompt": "mr", "completion": "ref"}}, "completion", 0.05),
        (
            "multidogo-dev/finance/train.tsv",
            {"columns": {"text": "utterance", "label": "intent", "group": "conversationId"}},
            "label",
            0.5,
        ),
    ],
)
def test_real_files(tmp_path, data, settings, kind, most_dropped):
    named = {"train": data} if isinstance(data, str) else data
    absolute = {role: str(SHARED / name) for role, name in named.items()}
    if not all(Path(name).is_file() for name in absolute.values()):
        pytest.skip("this file is not among the shared data here")
    shop = Workshop(tmp_path)
    result = shop.prepare(absolute, **settings)
    rows(result)
    assert sum(result.dropped.values()) <= most_dropped * result.rows_in
    assert {choice.value for choice in shop.heard.choices if choice.name.startswith("format")} == {kind}


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data beside the repository")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bfcl-toolcalls/BFCL_v4_multiple.json", "no known format"),
        ("pubmedqa/ori_pqal.json", r"prepare\.columns: \{prompt: QUESTION, completion: LONG_ANSWER\}"),
        ("banking77/trian.csv", r"did you mean 'train\.csv'"),
        ("banking77", r"categories\.json:2: not a JSON object"),
    ],
)
def test_real_files_of_no_known_format(tmp_path, name, message):
    if not (SHARED / name).parent.is_dir():
        pytest.skip("this file is not among the shared data here")
    with pytest.raises(DataError, match=message):
        Workshop(tmp_path).prepare(str(SHARED / name))


def test_what_is_made_of_the_rows_makes_no_other_snapshot(workshop):
    data = workshop.lines("t.jsonl", [{"text": f"text {number}", "label": "ab"[number % 2]} for number in range(40)])
    plain = workshop.prepare(data)
    other = workshop.prepare(data, further={"augment": {"copies": 3}, "synthesise": {"rows": 7}})
    assert (other.path, other.reused) == (plain.path, True)
    assert workshop.prepare(data, test_share=0.2).path != plain.path


def test_nothing_is_written_where_the_system_keeps_such_files(workshop, monkeypatch):
    """What rows take on disk is asked for beforehand, on the device of the snapshot; another may be small."""
    monkeypatch.setattr(tempfile, "tempdir", str(workshop.folder / "not there"))
    assert sum(workshop.prepare(workshop.lines("t.jsonl", tickets(60))).counts.values()) == 60
