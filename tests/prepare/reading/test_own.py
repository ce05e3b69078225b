"""What an entry of `data` says of its own files: columns, format, and queries with both."""

import sqlite3

import pytest

from metier.core.errors import SettingsError
from metier.core.settings import build
from metier.prepare.settings import DataSettings
from tests.prepare.workshop import refused, rows


def labels(result):
    return {row.label for split in rows(result).values() for row in split}


def test_every_file_may_have_columns_of_its_own(workshop):
    workshop.lines("a.jsonl", [{"body": f"first {n}", "queue": "mail"} for n in range(20)])
    workshop.lines("b.jsonl", [{"note": f"second {n}", "kind": "phone"} for n in range(20)])
    data = {"train": [
        {"path": "a.jsonl", "columns": {"text": "body", "label": "queue"}},
        {"path": "b.jsonl", "columns": {"text": "note", "label": "kind"}},
    ]}  # fmt: skip
    assert labels(workshop.prepare(data)) == {"mail", "phone"}
    assert "no known format" in refused_only(workshop, ["a.jsonl", "b.jsonl"])


def refused_only(workshop, train):
    for path in workshop.snapshots():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    return refused(workshop, {"train": train})


def test_columns_of_an_entry_are_laid_over_those_of_all(workshop):
    workshop.lines("a.jsonl", [{"body": f"first {n}", "queue": "mail", "who": n} for n in range(20)])
    workshop.lines("b.jsonl", [{"body": f"second {n}", "kind": "phone", "who": n + 50} for n in range(20)])
    shared = {"text": "body", "label": "queue", "group": "who"}
    data = {"train": ["a.jsonl", {"path": "b.jsonl", "columns": {"label": "kind"}}]}
    result = workshop.prepare(data, columns=shared)
    assert labels(result) == {"mail", "phone"}
    assert all(row.group is not None for row in rows(result)["train"])


def test_every_file_may_have_a_format_of_its_own(workshop):
    both = [{"text": f"a story about number {n}", "label": "a"} for n in range(20)]
    workshop.lines("a.jsonl", both)
    workshop.lines("b.jsonl", [record | {"text": record["text"] + " again"} for record in both])
    plain = workshop.prepare({"train": ["a.jsonl", "b.jsonl"]})
    own = workshop.prepare({"train": ["a.jsonl", {"path": "b.jsonl", "format": "text"}]})
    assert plain.path != own.path
    kinds = {(row.source.partition(":")[0], type(row).__name__) for row in rows(own)["train"]}
    assert kinds == {("a.jsonl", "LabelledRow"), ("b.jsonl", "TextRow")}


def test_a_held_out_file_and_a_query_may_have_columns_of_their_own(workshop):
    with sqlite3.connect(workshop.folder / "shop.db") as shop:
        shop.execute("create table t (body text, queue text)")
        shop.executemany("insert into t values (?, ?)", [(f"ticket {n}", "ab"[n % 2]) for n in range(20)])
    query = {"sql": f"sqlite:///{workshop.folder / 'shop.db'}", "query": "select * from t order by body"}
    workshop.lines("e.jsonl", [{"words": f"later {n}", "right": "a"} for n in range(9)])
    data = {
        "train": [{"path": query, "columns": {"text": "body", "label": "queue"}}],
        "test": {"path": "e.jsonl", "columns": {"text": "words", "label": "right"}},
    }
    result = workshop.prepare(data)
    assert result.counts["test"] == 9
    assert labels(result) == {"a", "b"}


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"path": "a.jsonl", "colums": {}}, "metier.yaml: train.0.colums: unknown"),
        ({"columns": {"text": "x"}}, "metier.yaml: train.0.path: missing; every project needs it"),
        ({"sql": "sqlite:///a.db"}, "metier.yaml: train.0.query: missing; every project needs it"),
        (7, "metier.yaml: train.0: input should be a valid string (found 7)"),
    ],
)
def test_entries_that_cannot_be(entry, says):
    with pytest.raises(SettingsError) as caught:
        build(DataSettings, {"train": [entry]}, "metier.yaml")
    assert caught.value.found == says
