"""The spool: what is kept of a row in columns, second looks, and rows that no rule may touch."""

import json
from dataclasses import replace

import numpy as np
import pytest

from metier.core.errors import DataError
from metier.prepare import snapshot
from metier.prepare.candidate import Candidate
from metier.prepare.places import entry_of
from metier.prepare.scale.work import written
from metier.prepare.spool import Filling
from metier.text.formats import Recognised, to_row
from tests.prepare.workshop import decisions, dropped, rows, tickets

FOUND = Recognised(
    format="label",
    columns={name: name for name in ("text", "label", "group", "slice", "time", "synthetic")},
)
RECORDS = [
    {"text": "one", "label": "a", "group": "g", "slice": "s", "time": "2026-01-02T00:00:00", "synthetic": "true"},
    {"text": "two", "label": "b", "time": 1_700_000_000_000},
    {"text": "one", "label": "b", "time": "soon"},
]


@pytest.fixture
def spool(tmp_path):
    with Filling(tmp_path / "spool") as filling:
        for number, record in enumerate(RECORDS, 7):
            row = to_row(record, FOUND, source=f"a:b.jsonl:{number}")
            filling.add(written(Candidate(row, json.dumps(record), record, "train")), entry_of(row), "train")
        row = replace(row, id=row.id + "-2", source="odd")
        filling.add(written(Candidate(row, "", {}, "test")), entry_of(row), "test")
        return filling.spool({"a:b.jsonl": FOUND})


def test_columns_tell_what_the_rows_are(spool):
    places = spool.places
    assert len(places) == len(spool) == 4
    assert [place.source for place in places] == ["a:b.jsonl:7", "a:b.jsonl:8", "a:b.jsonl:9", "odd"]
    assert [place.role for place in places] == ["train", "train", "train", "test"]
    assert [place.label for place in places] == ["a", "b", "b", "b"]
    assert [place.synthetic for place in places] == [True, False, False, False]
    assert places[0].group is not None
    assert places[1].group is None
    assert places.asks[0] == places.asks[2] != places.asks[1]
    assert places[3].id == places[2].id + "-2"
    assert places.times[:2].tolist() == [1767312000.0, 1_700_000_000.0]
    assert np.isnan(places.times[2])
    assert places.slice_names == ("s",)
    assert places.characters.tolist() == [3] * 4


def test_rows_come_back_in_order_and_by_number(spool):
    found = list(spool.rows())
    assert [row.text for row in found] == ["one", "two", "one", "one"]
    assert [row.source for row in spool.rows([2, 0])] == ["a:b.jsonl:9", "a:b.jsonl:7"]
    assert found[0].synthetic
    assert [row.id for row in found] == [place.id for place in spool.places]


def _every_third(spool):
    for number in range(0, len(spool), 3):
        yield spool.decision(number, "looks.third", "drop", "every third", f"number {number}")
        yield spool.decision(number, "looks.third", "flag", "seen")


def test_a_look_drops_rows_once_and_never_those_to_be_kept(workshop, monkeypatch):
    monkeypatch.setattr(snapshot, "_looks", lambda *_: (_every_third, _every_third))
    name = workshop.lines("t.jsonl", tickets(60))
    result = workshop.prepare(name, keep=["t.jsonl:4"])
    found = rows(result)
    assert result.dropped == {"every third": 19}
    assert "t.jsonl:4" in {row.source for split in found.values() for row in split}
    assert sum(entry["action"] == "flag" for entry in decisions(result)) == 40
    assert dropped(result)[0].row_id


def test_rows_to_be_kept_can_be_named_by_id_and_in_a_file(workshop):
    name = workshop.lines("t.jsonl", [*tickets(30), *tickets(3)])
    first = workshop.prepare(name)
    assert first.dropped == {"copy of another row": 3}
    source, by_id = dropped(first)[0].source, dropped(first)[1].row_id
    workshop.write("kept.txt", f"{source}\n\n{by_id}\n")
    kept = workshop.prepare(name, keep=["@kept.txt"])
    assert kept.dropped == {"copy of another row": 1}
    workshop.write("kept.txt", f"{source}\n")
    assert workshop.prepare(name, keep=["@kept.txt"]).path != kept.path
    with pytest.raises(DataError, match=r"prepare\.keep: none\.txt cannot be read"):
        workshop.prepare(name, keep=["@none.txt"])


def test_no_copy_of_a_held_out_row_is_kept(workshop):
    data = {"train": workshop.lines("t.jsonl", tickets(30)), "test": workshop.lines("test.jsonl", tickets(3))}
    result = workshop.prepare(data, keep=["t.jsonl:1"])
    assert result.dropped == {"copy of a test row": 3}


def test_synthetic_rows_are_only_trained_on(workshop):
    real = tickets(60)
    made = [{"text": f"made {number}", "label": "praise", "synthetic": True} for number in range(200)]
    echoes = [{**row, "label": "other", "synthetic": True} for row in real]
    result = workshop.prepare(workshop.lines("t.jsonl", [*real, *made, *echoes]))
    found = rows(result)
    assert not any(row.synthetic for split in ("validation", "test") for row in found[split])
    held = len(found["validation"]) + len(found["test"])
    assert result.dropped == {"a synthetic row made from a held-out one": held}
    assert sum(row.synthetic for row in found["train"]) == 260 - held


def test_a_synthetic_row_in_a_test_file_is_dropped(workshop):
    test = [
        *({"text": f"t {number}", "label": "a"} for number in range(5)),
        {"text": "made", "label": "a", "synthetic": 1},
    ]
    data = {"train": workshop.lines("t.jsonl", tickets(30)), "test": workshop.lines("test.jsonl", test)}
    assert workshop.prepare(data).dropped == {"a synthetic row in a held-out file": 1}


def test_a_column_called_as_is_the_users_own(workshop):
    records = [{"as": "chat", "text": f"a sentence {number}"} for number in range(20)]
    result = workshop.prepare(workshop.lines("t.jsonl", records), columns={"slice": "as"})
    assert {row.slice for split in rows(result).values() for row in split} == {"chat"}
