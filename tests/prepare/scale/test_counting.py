"""Tokens counted in several processes: the same numbers as in one."""

from contextlib import contextmanager

import numpy as np
import pytest

from metier.core.errors import DataError
from metier.core.progress import Silent, SilentTask
from metier.model.find import find
from metier.prepare import tokens
from metier.prepare.scale import counting
from metier.prepare.scale.counting import count_tokens
from metier.text.preferences import paired, turned
from metier.text.render import open_renderer
from metier.text.rendered import render_rows
from metier.text.rows import load_split
from metier.text.settings import TextSettings
from tests.prepare.workshop import tickets


class Bar(SilentTask):
    """A bar that adds up."""

    done = 0

    def advance(self, count=1, facts=None):
        self.done += count


class Heard(Silent):
    """A listener with one bar."""

    def __init__(self):
        self.bar = Bar()

    @contextmanager
    def task(self, name, total, done=0):
        yield self.bar


@pytest.fixture
def small_slices(monkeypatch):
    monkeypatch.setattr(counting, "TOGETHER", 16)
    monkeypatch.setattr(counting, "WORTH_ROWS", 16)


def test_two_processes_count_what_one_counts(workshop, small_slices, monkeypatch):
    long = [{"text": "a long message " + " ".join(map(str, range(n, n + 60))), "label": "saga"} for n in range(30)]
    path = workshop.prepare(workshop.lines("t.jsonl", [*tickets(60), *long])).path
    renderer = open_renderer(find("metier-tiny", workshop.folder).folder, TextSettings(max_tokens=48))
    total, found, opened = len((path / "train.jsonl").read_bytes().splitlines()), [], []
    begun = counting.Pool
    monkeypatch.setattr(counting, "Pool", lambda job, count: opened.append(count) or begun(job, count))
    for workers in (1, 2):
        heard = Heard()
        found.append(count_tokens(path, {"train": total}, renderer, workers=workers, progress=heard)["train"])
        assert heard.bar.done == total
    one, two = found
    assert opened == [2]
    assert one.lost["too long"].labels == two.lost["too long"].labels
    assert one.lost == two.lost
    assert np.array_equal(one.lengths, two.lengths)
    for name in ("rows", "learnt", "labels", "shared", "sampled", "limit"):
        assert one.__getattribute__(name) == two.__getattribute__(name)


def test_an_error_of_a_process_is_told_as_that_of_one(workshop, small_slices):
    rows = [{"prompt": f"is {n} even?", "completion": "yes", "label": n % 2 == 0} for n in range(60)]
    path = workshop.prepare(workshop.lines("t.jsonl", rows)).path
    renderer = open_renderer(find("metier-tiny", workshop.folder).folder, TextSettings())
    for workers in (1, 2):
        with pytest.raises(DataError, match="a judged row"):
            count_tokens(path, {"train": 40}, renderer, workers=workers, progress=Silent())


def preferences(count):
    return [
        {"prompt": f"is {n} a number, and {'why ' * (n % 5)}?", "chosen": "yes", "rejected": "no, it is none"}
        for n in range(count)
    ]


def test_both_answers_of_a_preference_count_where_both_are_learnt(workshop, small_slices):
    path = workshop.prepare(workshop.lines("t.jsonl", preferences(90))).path
    renderer = open_renderer(find("metier-tiny", workshop.folder).folder, TextSettings())
    rows = load_split(path, "train")
    trained = paired(*(render_rows(part, renderer, Silent()) for part in (rows, [turned(row) for row in rows])))
    for workers in (1, 2):
        found = count_tokens(
            path, {"train": len(rows)}, renderer, workers=workers, progress=Silent(), both=True
        )["train"]  # fmt: skip
        assert found.rows == len(rows)
        assert found.tokens == len(trained.ids)
        assert found.learnt == (trained.weights > 0).sum()
        assert found.shared > 0.4, "their prompt stands twice"
        assert found.sampled == 2 * len(rows)
        assert "better and with its worse answer" in tokens.report({"train": found}, "b").tables[0].note


def test_the_better_answers_alone_count_where_they_alone_are_learnt(workshop):
    path = workshop.prepare(workshop.lines("t.jsonl", preferences(30))).path
    renderer = open_renderer(find("metier-tiny", workshop.folder).folder, TextSettings())
    rows = load_split(path, "train")
    found = count_tokens(path, {"train": len(rows)}, renderer, workers=1, progress=Silent())["train"]
    assert found.tokens == len(render_rows(rows, renderer, Silent()).ids)
    assert not tokens.report({"train": found}, "b").tables[0].note
