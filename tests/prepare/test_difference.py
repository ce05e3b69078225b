"""Two snapshots side by side: every kind of difference, planted, is told with its row."""

import pytest

from metier.core.errors import DataError
from metier.prepare.difference import difference, locate, report
from tests.prepare.workshop import tickets


def test_the_same_snapshot_does_not_differ(workshop):
    path = workshop.prepare(workshop.lines("t.jsonl", tickets(40))).path
    told = report(path, path)
    assert told.verdict.good is True
    assert told.tables == ()
    assert difference(path, path).same == 40


def test_rows_that_came_and_went(workshop):
    before = workshop.prepare(workshop.lines("t.jsonl", tickets(40))).path
    after = workshop.prepare(workshop.lines("t.jsonl", [{"text": "a new one", "label": "praise"}, *tickets(39)])).path
    found = difference(before, after)
    assert [row[0] for row in found.added] == ["t.jsonl:1"]
    assert [row[0] for row in found.removed] == ["t.jsonl:40"]
    assert found.added[0][2] == "not there before"
    assert found.changed == []


def test_a_changed_text_stands_at_the_same_place(workshop):
    rows = tickets(40)
    before = workshop.prepare(workshop.lines("t.jsonl", rows)).path
    after = workshop.prepare(
        workshop.lines("t.jsonl", [*rows[:9], {**rows[9], "text": "something else"}, *rows[10:]])
    ).path
    found = difference(before, after)
    assert [row[0] for row in found.changed] == ["t.jsonl:10"]
    assert (found.added, found.removed) == ([], [])


def test_a_row_that_moved_to_another_split(workshop):
    name = workshop.lines("t.jsonl", tickets(90))
    found = difference(workshop.prepare(name).path, workshop.prepare(name, seed=1).path)
    assert found.moved
    assert all(row[1] != row[2] for row in found.moved)
    assert (found.added, found.removed, found.changed) == ([], [], [])


def test_a_row_that_a_rule_drops_now_says_which(workshop):
    name = workshop.lines("t.jsonl", [*tickets(40), {"text": "message number 3", "label": "praise"}])
    before, after = workshop.prepare(name), workshop.prepare(name, clean={"conflicts": "drop"})
    found = difference(before.path, after.path)
    assert {(row[0], row[2]) for row in found.removed} == {
        (f"t.jsonl:{line}", "drop: the same input has another label elsewhere") for line in (4, 41)
    }
    back = difference(after.path, before.path)
    assert {row[0] for row in back.added} == {"t.jsonl:4", "t.jsonl:41"}
    assert ("prepare.clean.conflicts", '"flag" → "drop"') in report(before.path, after.path).facts


def test_another_remark_on_the_same_row(workshop):
    name = workshop.lines("t.jsonl", [*tickets(40), {"text": "message number 3", "label": "praise"}])
    found = difference(workshop.prepare(name).path, workshop.prepare(name, clean={"conflicts": "off"}).path)
    assert [row[0] for row in found.decided] == ["t.jsonl:4", "t.jsonl:41"]
    assert found.decided[0][2] == "nothing"


def test_snapshots_are_found_by_their_beginning(workshop):
    path = workshop.prepare(workshop.lines("t.jsonl", tickets(40))).path
    store = workshop.folder / ".metier"
    assert locate(path.name[:5], store) == path
    assert locate(str(path), store) == path
    with pytest.raises(DataError, match="snapshot 'xyz': no such snapshot"):
        locate("xyz", store)
