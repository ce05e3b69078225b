"""The page of a snapshot: what is wrong comes first, the worst above, and the tokens are those of the base."""

import numpy as np
import pytest

from metier.core.progress import Silent, SilentTask
from metier.model.find import find
from metier.prepare import tokens
from metier.prepare.advice import of_snapshot, warnings_table
from metier.prepare.page import page
from metier.prepare.summary import report
from metier.report import html
from metier.text.census import census, shared_share
from metier.text.render import open_renderer
from metier.text.rendered import render_rows
from metier.text.rows import load_split
from metier.text.settings import TextSettings
from tests.prepare.workshop import tickets


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return find("metier-tiny", tmp_path_factory.mktemp("base"))


def counted(path, base, **values):
    rows = load_split(path, "train")
    renderer = open_renderer(base.folder, TextSettings(**values))
    return census(rows, renderer, total=len(rows), task=SilentTask()), render_rows(rows, renderer, Silent()), renderer


def test_a_census_counts_what_is_rendered(workshop, base):
    path = workshop.prepare(workshop.lines("t.jsonl", tickets(60))).path
    found, rendered, renderer = counted(path, base)
    assert (found.rows, found.tokens) == (len(rendered), len(rendered.ids))
    assert found.lengths.tolist() == rendered.lengths().tolist()
    assert found.learnt == int((rendered.weights > 0).sum())
    assert found.limit == renderer.limit
    assert 0 < found.shared < 1
    assert found.lost == {}


def test_rows_that_do_not_fit_are_told_with_the_label_that_suffers_most(workshop, base):
    long = [{"text": "a very long message " + " ".join(map(str, range(n, n + 60))), "label": "saga"} for n in range(30)]
    path = workshop.prepare(workshop.lines("t.jsonl", [*tickets(60), *long])).path
    found, rendered, _ = counted(path, base, max_tokens=48)
    assert sum(entry.rows for entry in found.lost.values()) == len(rendered.dropped) > 0
    (warning,) = tokens.warnings(found)
    assert "100% of label 'saga'" in warning.found
    assert "limit 48 tokens" in warning.found
    told = tokens.report({"train": found}, "tiny")
    assert told.verdict.good is None
    assert {table.title: table for table in told.tables}["Left out by label"].rows[0][0] == "saga"


def test_shared_beginnings_are_what_a_trie_saves():
    sequences = [np.array(ids, np.int32) for ids in ([1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 9, 9], [7, 7, 7, 7])]
    assert shared_share(sequences) == pytest.approx(5 / 16)
    assert shared_share([]) == 0


def test_warnings_are_ranked_by_what_they_do_to_the_model(workshop):
    rows = [*tickets(200), *({"text": f"message number {n}", "label": "praise"} for n in (0, 1, 3, 4, 6, 7, 9))]
    name = workshop.lines("t.jsonl", [*rows, {"text": "<b>hi</b>", "label": "refund"}])
    path = workshop.prepare(name, clean={"mislabelled": "off"}).path
    shown = [str(row[0]) for row in {table.title: table for table in report(path).tables}["Warnings"].rows]
    places = {key: next(n for n, text in enumerate(shown) if key in text) for key in ("another label", "HTML")}
    assert places["another label"] == 0 < places["HTML"]
    assert "It teaches a contradiction" in shown[0]


def test_few_rows_of_a_label_and_one_label_for_most_rows_are_told():
    labels = {"most": {"train": 900, "validation": 50, "test": 50}, "few": {"train": 3, "validation": 0, "test": 1}}
    facts = {"decisions": [], "rows_in": 1000, "labels": labels, "counts": {"train": 903}, "warnings": []}
    found = [str(row[0]) for row in warnings_table(of_snapshot(facts)).rows]
    assert found[0].startswith("One label, 'most', stands on 100% of the training rows")
    assert "fewer than 10 rows to learn from: 1, 'few'" in found[1]


def test_many_copies_are_told():
    dropped = {"rule": "duplicates.exact", "action": "drop", "reason": "copy", "rows": 400, "examples": ["t:1"]}
    facts = {"decisions": [dropped], "rows_in": 1000, "labels": {}, "counts": {"train": 600}, "warnings": []}
    assert "were 40% of all" in of_snapshot(facts)[0].found


def test_the_page_shows_data_tokens_and_ten_rows(workshop, base):
    records = [{**row, "slice": "web" if n % 2 else "mail"} for n, row in enumerate(tickets(80))]
    path = workshop.prepare(workshop.lines("t.jsonl", [*records, {"text": "cafÃ© <b>x</b>", "label": "refund"}])).path
    renderer = open_renderer(base.folder, TextSettings())
    found = page(path, "metier-tiny", renderer, Silent())
    assert [chapter.name for chapter in found.chapters] == ["data", "tokens", "rows"]
    titles = {table.title for chapter in found.chapters for table in chapter.report.tables}
    assert {"Files", "Changed", "Flagged", "Labels", "Slices", "Tokens by split", "Rows drawn at random"} <= titles
    (drawn,) = found.chapters[2].report.tables
    assert len(drawn.rows) == 10
    assert all("⟦" in str(row[1]) for row in drawn.rows)
    assert page(path, "metier-tiny", renderer, Silent()) == found
    assert "Rows drawn at random" in html.render(found)
    assert [chapter.name for chapter in page(path, "", None, Silent()).chapters] == ["data"]


def test_a_format_that_many_files_are_in_is_told_once(workshop):
    for number in range(4):
        workshop.lines(f"all/{'abcd'[number]}.jsonl", tickets(40)[number * 10 : number * 10 + 10])
    facts = dict(report(workshop.prepare("all").path).facts)
    assert facts["format of 4 files"].startswith("label (")
    assert [name for name in facts if name.startswith("format of")] == ["format of 4 files"]
