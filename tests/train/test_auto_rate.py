"""`train.learning_rate: auto`: rates are tried before the run, the best one trains, and a resumed run keeps it."""

import json
import signal

import pytest

from metier.core import artefact
from metier.core.errors import InterruptedRun
from metier.train.sweep import auto
from tests.train.conftest import plan
from tests.train.test_options import losses
from tests.train.test_resume import StopAt


def chosen(run) -> dict:
    choices = json.loads((run / "choices.json").read_text())
    return next(choice for choice in choices if choice["name"] == "train.learning_rate")


@pytest.fixture
def narrow(monkeypatch):
    """A short search in a short run, so that a test takes seconds."""
    monkeypatch.setattr(auto, "_SHARE", 1.0)


def short(rate="auto", steps=36, **changes):
    return plan(max_steps=steps, checks=1, rows_per_step=4, learning_rate=rate, **changes)


def test_auto_takes_the_rate_with_the_lowest_loss_and_says_what_was_measured(run_to_end, narrow):
    run = run_to_end(short())
    choice = chosen(run)
    assert choice["reason"].startswith("lowest validation loss of those tried (")
    measured = {
        float(part.split(":")[0]): float(part.split()[1])
        for part in choice["reason"].split("(")[1].rstrip(")").split(", ")
    }
    assert len(measured) >= 3
    assert choice["value"] in measured
    assert measured[choice["value"]] == min(measured.values())
    assert not (run / "rates").exists()
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert max(entry["learning_rate"] for entry in entries if "loss" in entry) == pytest.approx(choice["value"])


def test_the_run_after_the_search_is_the_run_with_that_rate_set(run_to_end, narrow):
    searched = run_to_end(short(), "searched")
    given = run_to_end(short(chosen(searched)["value"]), "given")
    assert losses(searched) == losses(given)
    assert artefact.verify(searched / "model").digest == artefact.verify(given / "model").digest


def test_a_resumed_run_keeps_the_recorded_rate_and_ends_bit_identical(run_to_end, narrow, monkeypatch):
    whole = run_to_end(short(), "whole")
    with pytest.raises(InterruptedRun):
        run_to_end(short(), "stopped", StopAt(4, signal.SIGTERM))
    monkeypatch.setattr(auto, "_NARROW", None)  # a second search would fail
    monkeypatch.setattr(auto, "_WIDE", None)
    resumed = run_to_end(short(), "stopped")
    assert chosen(resumed) == chosen(whole)
    assert artefact.verify(resumed / "model").digest == artefact.verify(whole / "model").digest


class KillInSearch(StopAt):
    """Ends the search, as a kill would, after two rates."""

    def task(self, name, total, done=0):
        return Dying(2) if name == "learning rate" else super().task(name, total, done)


class Dying:
    def __init__(self, left: int) -> None:
        self.left = left

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None

    def advance(self, count=1, facts=None):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_a_search_that_was_killed_goes_on_to_the_same_rate(run_to_end, narrow):
    whole = run_to_end(short(), "whole")
    with pytest.raises(KeyboardInterrupt):
        run_to_end(short(), "killed", KillInSearch(10**6, signal.SIGTERM))
    resumed = run_to_end(short(), "killed")
    assert chosen(resumed) == chosen(whole)
    assert artefact.verify(resumed / "model").digest == artefact.verify(whole / "model").digest


def test_a_run_too_short_for_a_search_says_so_and_keeps_the_rule(run_to_end):
    automatic = run_to_end(plan(learning_rate="auto"), "auto")
    ruled = run_to_end(plan(), "rule")
    assert "too few to try others" in chosen(automatic)["reason"]
    assert losses(automatic) == losses(ruled)


class Planned:
    """As much of a run as the size of a search depends on."""

    def __init__(self, steps: int, rows: int, held_out: int) -> None:
        self.order = self
        self.steps = steps
        self.rows = rows
        self.validation = list(range(held_out))

    def step(self, step: int) -> list[int]:
        return list(range(self.rows))


@pytest.mark.parametrize("held_out", [1, 64, 256])
@pytest.mark.parametrize("rows", [4, 16, 64])
@pytest.mark.parametrize("steps", [20, 200, 500, 1000, 2000, 10_000])
def test_a_search_costs_at_most_a_tenth_of_the_run(steps, rows, held_out):
    search = auto.room(Planned(steps, rows, held_out))
    if search is None:
        assert steps < 2000
        return
    count = len(search.powers)
    last = -(-count // 3)
    first = search.steps // 3 if search.rungs == 2 else search.steps
    trained = count * first + (last * (search.steps - first) if search.rungs == 2 else 0)
    checks = count * search.checks // (3 if search.rungs == 2 else 1)
    checks += last * (search.checks - search.checks // 3) if search.rungs == 2 else 0
    cost = trained * rows + checks * min(64, held_out) / 3
    assert cost <= 0.1 * steps * rows
