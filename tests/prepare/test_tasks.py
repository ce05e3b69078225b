"""Tasks for a grader: read, kept verbatim, written, read back, and refused where an answer is learnt."""

import json

import pytest

from metier.core.errors import DataError
from metier.core.progress import Silent
from metier.core.types import TaskRow
from metier.model.find import find
from metier.prepare.protect.passages import mapped, passages
from metier.text.canonical import recognised, record_of
from metier.text.formats import to_row
from metier.text.render import open_renderer
from metier.text.rendered import render_rows
from metier.text.settings import TextSettings
from tests.prepare.workshop import dropped, raw, refused, rows

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "z": 1, "a": None}}}


def task(number, **more):
    turns = [
        {"role": "system", "content": "Count."},
        {"role": "user", "content": f"How many parcels came on day {number}?"},
    ]
    return {"messages": turns, "reference_answer": {"count": number, "unit": None, "exact": 1.50}} | more


def test_tasks_are_recognised_and_keep_every_field(workshop):
    records = [task(number, id=f"case-{number}", difficulty=number, tools=[TOOL]) for number in range(30)]
    result = workshop.prepare(workshop.lines("t.jsonl", records))
    found = [row for split in rows(result).values() for row in split]
    assert {type(row) for row in found} == {TaskRow}
    by_id = {row.checker["id"]: row for row in found}
    for record in records:
        row = by_id[record["id"]]
        assert row.checker == {name: record[name] for name in ("reference_answer", "id", "difficulty")}
        assert list(row.checker["reference_answer"]) == ["count", "unit", "exact"]
        assert [turn.as_dict() for turn in row.prompt] == record["messages"]
        assert json.dumps(row.tools) == json.dumps([TOOL])
        assert row.difficulty == record["difficulty"]
    assert "tasks for a grader" in result.choices[0].reason
    assert "prepare.columns: {prompt: messages, completion: reference_answer}" in result.choices[0].reason
    assert all(line["reference_answer"]["unit"] is None for line in raw(result, "train"))


def test_a_changed_task_is_written_and_read_back(workshop):
    records = [task(number) for number in range(30)]
    records[3]["messages"][1]["content"] += "   \n\n\n\n\nPlease."
    result = workshop.prepare(workshop.lines("t.jsonl", records))
    (row,) = [row for split in rows(result).values() for row in split if row.source == "t.jsonl:4"]
    assert row.prompt[1].content.endswith("\n\nPlease.")
    assert row.checker == {"reference_answer": records[3]["reference_answer"]}
    record = record_of(row)
    assert to_row(record, recognised(record["as"]), source=row.source, row_id=row.id) == row


def test_tasks_with_other_references_are_other_rows(workshop):
    same = task(1)
    other = same | {"reference_answer": {"count": 7}}
    result = workshop.prepare(workshop.lines("t.jsonl", [*(task(n) for n in range(2, 30)), same, same, other]))
    assert [item.source for item in dropped(result)] == ["t.jsonl:30"]


def test_a_file_may_be_named_as_tasks(workshop):
    records = [{"prompt": f"Write {number} tests.", "suite": "a", "timeout": number} for number in range(30)]
    result = workshop.prepare(workshop.lines("t.jsonl", records), format="task")
    assert rows(result)["train"][0].checker.keys() == {"suite", "timeout"}


def test_tasks_that_are_none(workshop):
    answered = task(50)
    answered["messages"] = [*answered["messages"], {"role": "assistant", "content": "50"}]
    bare = {"messages": task(51)["messages"]}
    name = workshop.lines("t.jsonl", [*(task(number) for number in range(30)), answered, bare])
    reasons = {item.reason for item in dropped(workshop.prepare(name, format="task"))}
    assert reasons == {
        "a task that does not end with the user's turn",
        "a task with nothing to check an answer against",
    }


def test_files_that_are_no_tasks(workshop):
    message = refused(workshop, workshop.lines("u.jsonl", [{"body": "x", "n": n} for n in range(9)]), format="task")
    assert "u.jsonl: no column of prompts (columns: 'body', 'n')" in message
    waiting = workshop.lines("w.jsonl", [{"messages": task(number)["messages"]} for number in range(9)])
    assert "conversations that end with the user's turn; wanted: an answer to learn from" in refused(workshop, waiting)


def test_training_on_answers_refuses_tasks_and_says_what_to_do(workshop, tmp_path):
    row = rows(workshop.prepare(workshop.lines("t.jsonl", [task(number) for number in range(9)])))["train"][0]
    renderer = open_renderer(find("metier-tiny", tmp_path).folder, TextSettings())
    with pytest.raises(DataError, match="a task without an answer; wanted: chat, labelled or text rows") as caught:
        render_rows([row], renderer, Silent())
    assert "completion: reference_answer" in caught.value.do


def test_personal_data_are_looked_for_in_the_reference_too(workshop):
    records = [task(number, reference_answer={"name": f"Ada {number}", "n": number}) for number in range(9)]
    row = rows(workshop.prepare(workshop.lines("t.jsonl", records)))["train"][0]
    assert row.checker["reference_answer"]["name"] in [passage.text for passage in passages(row)]
    changed = mapped(row, lambda passage: "X" if passage.text.startswith("Ada") else passage.text)
    assert changed.checker["reference_answer"] == {"name": "X", "n": row.checker["reference_answer"]["n"]}
