"""Columns that are made of others: put together, or out of what is nested; and what is left out is asked about."""

import json

import pytest

from metier.core.errors import SettingsError
from metier.core.settings import build
from metier.prepare.settings import PrepareSettings
from tests.prepare.workshop import decisions, dropped, refused, rows

TICKETS = [
    {"subject": f"About {n}", "body": f"please look at number {n} of mine", "queue": ("mail", "phone")[n % 2]}
    for n in range(40)
]


def all_rows(result):
    return sorted((row for split in rows(result).values() for row in split), key=lambda row: int(row.source[8:]))


@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.csv"])
def test_several_columns_become_one_text(workshop, name):
    written = {
        "t.jsonl": "".join(json.dumps(record) + "\n" for record in TICKETS),
        "t.json": json.dumps(TICKETS),
        "t.csv": "subject,body,queue\n" + "".join(",".join(record.values()) + "\n" for record in TICKETS),
    }
    workshop.write(name, written[name])
    result = workshop.prepare(name, columns={"text": ["subject", "body"], "label": "queue"})
    found = {(row.text, row.label) for split in rows(result).values() for row in split}
    assert found == {(f"{one['subject']}\n\n{one['body']}", one["queue"]) for one in TICKETS}
    (said,) = [choice for choice in workshop.heard.choices if choice.name.startswith("format of")]
    assert "columns text = 'subject + body', label = 'queue')" in f"{said.reason})"


def test_what_is_empty_adds_no_line_and_what_is_no_text_drops_the_row(workshop):
    records = [*TICKETS[2:], TICKETS[0] | {"subject": ""}, TICKETS[1] | {"subject": {"a": 1}}]
    result = workshop.prepare(
        workshop.lines("t.jsonl", records), columns={"text": ["subject", "body"], "label": "queue"}
    )
    (alone,) = [row for row in all_rows(result) if row.source == "t.jsonl:39"]
    assert alone.text == TICKETS[0]["body"]
    (gone,) = dropped(result)
    assert (gone.source, gone.reason, gone.detail) == ("t.jsonl:40", "'subject' is not text", "it is dict")


def test_what_is_nested_is_reached(workshop):
    issues = [
        {"key": f"S-{n}", "fields": {"summary": f"Print {n}", "description": f"it does not print {n}",
         "comment": {"comments": [{"body": "internal"}, {"body": f"mended in {n}"}]}, "who": {"id": n % 9}}}
        for n in range(40)
    ]  # fmt: skip
    columns = {
        "prompt": ["fields.summary", "fields.description"], "completion": "fields.comment.comments.-1.body",
        "group": "fields.who.id",
    }  # fmt: skip
    workshop.write("jira.json", json.dumps({"startAt": 0, "total": 40, "issues": issues}))
    result = workshop.prepare("jira.json", columns=columns)
    said = [[turn.content for turn in row.messages] for split in rows(result).values() for row in split]
    assert sorted(said) == sorted([f"Print {n}\n\nit does not print {n}", f"mended in {n}"] for n in range(40))
    assert {row.group for split in rows(result).values() for row in split} == {str(n) for n in range(9)}


def test_a_column_whose_name_has_a_dot_is_itself(workshop):
    records = [{"a.b": f"text number {n}", "a": {"b": "not this"}, "queue": "xy"[n % 2]} for n in range(30)]
    result = workshop.prepare(workshop.lines("t.jsonl", records), columns={"text": "a.b", "label": "queue"})
    assert all(row.text.startswith("text number") for split in rows(result).values() for row in split)


def test_a_wrong_way_is_refused_with_what_there_is(workshop):
    name = workshop.lines("t.jsonl", [record | {"more": {"channel": "web"}} for record in TICKETS])
    message = refused(workshop, name, columns={"text": ["subject", "bdy"], "label": "queue"})
    assert "nothing under 'bdy'" in message
    assert "did you mean 'body'?" in message
    message = refused(workshop, name, columns={"text": "body", "label": "more.chanel"})
    assert "one of 'more.channel'; did you mean 'more.channel'?" in message
    with pytest.raises(SettingsError, match="at least 1"):
        build(PrepareSettings, {"columns": {"text": []}}, where="metier.yaml")


def test_a_held_out_file_may_lack_a_group_that_is_nested(workshop):
    train = workshop.lines("t.jsonl", [record | {"by": {"id": n % 7}} for n, record in enumerate(TICKETS)])
    test = workshop.lines("held.jsonl", [record | {"body": record["body"] + " again"} for record in TICKETS[:9]])
    columns = {"text": ["subject", "body"], "label": "queue", "group": "by.id"}
    result = workshop.prepare({"train": train, "test": test}, columns=columns)
    assert all(row.group is not None for row in rows(result)["train"])
    assert all(row.group is None for row in rows(result)["test"])


def test_several_processes_leave_the_same_snapshot(workshop):
    name = workshop.lines("t.jsonl", TICKETS)
    columns = {"text": ["subject", "body"], "label": "queue"}
    alone = workshop.prepare(name, columns=columns, further={"workers": 1})
    first = (alone.path / "train.jsonl").read_bytes()
    for file in alone.path.iterdir():
        file.unlink()
    alone.path.rmdir()
    again = workshop.prepare(name, columns=columns, further={"workers": 2})
    assert (again.path / "train.jsonl").read_bytes() == first
    assert decisions(again) == []


def test_texts_with_what_looks_like_their_label_beside_them_are_not_learnt_as_they_stand(workshop):
    name = workshop.lines("t.jsonl", TICKETS)
    message = refused(workshop, name)
    assert "'queue' holds 'mail', 'phone'" in message
    assert "prepare.columns: {text: [subject, body], label: queue}; or prepare.format: text" in message
    plain = workshop.prepare(name, format="text")
    assert sum(map(len, rows(plain).values())) == 40
    named = workshop.prepare(name, columns={"text": "body"})
    assert sum(map(len, rows(named).values())) == 40


@pytest.mark.parametrize(
    "beside",
    [
        {"source": "shop"}, {"language": "en"}, {"number": "7"}, {"meta": {"a": 1}}, {"constant": "a"}, {"title": "A"},
    ],
)  # fmt: skip
def test_what_a_text_is_about_is_no_label(workshop, beside):
    other = {
        key: value + "2" if isinstance(value, str) and key != "constant" else value for key, value in beside.items()
    }
    records = [{"text": f"a story that has the number {n}"} | (beside, other)[n % 2] for n in range(40)]
    result = workshop.prepare(workshop.lines("t.jsonl", records))
    assert sum(map(len, rows(result).values())) == 40


def test_documents_and_names_of_their_own_are_no_tickets(workshop):
    long = [{"text": " ".join(f"word{n}of{m}" for m in range(300)), "shelf": "ab"[n % 2]} for n in range(40)]
    assert sum(map(len, rows(workshop.prepare(workshop.lines("long.jsonl", long))).values())) == 40
    single = [{"text": f"a story that has the number {n}", "hero": f"hero {n}"} for n in range(40)]
    assert sum(map(len, rows(workshop.prepare(workshop.lines("own.jsonl", single))).values())) == 40
