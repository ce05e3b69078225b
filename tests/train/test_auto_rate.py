"""`train.learning_rate: auto`: rates are tried before the run, the best one trains, and a resumed run keeps it."""

import json
import signal

import pytest

from metier.core import artefact
from metier.core.errors import InterruptedRun
from metier.train import choices
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


def short(rate="auto", steps=60, model=None, **changes):
    return plan(model, max_steps=steps, checks=1, rows_per_step=4, learning_rate=rate, **changes)


def measured(choice: dict) -> dict[float, float]:
    """The rates tried, and what each came to."""
    pairs = choice["reason"].split("(")[-1].split(")")[0].split(", ")
    return {float(rate): float(loss) for rate, loss in (pair.split(": ") for pair in pairs)}


def test_auto_leaves_a_rule_that_is_far_off_and_says_what_was_measured(run_to_end, narrow):
    """The rule was made for millions of parameters: for these few thousand it is twenty times too low."""
    run = run_to_end(short())
    choice = chosen(run)
    tried = measured(choice)
    least = min(tried, key=lambda rate: tried[rate])
    assert min(tried) < least < max(tried), "it went on until the loss rose"
    pointed = float(choice["reason"].split("point to ")[1].split(" ")[0])
    assert choice["value"] == pytest.approx(pointed / 2, rel=0.2), "a factor of two nearer to the rule"
    assert choice["value"] > 3e-3
    assert not (run / "rates").exists()
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert max(entry["learning_rate"] for entry in entries if "loss" in entry) == pytest.approx(choice["value"])
    assert losses(run)[-1] < losses(run_to_end(short(None), "ruled"))[-1] / 4


def test_auto_keeps_a_rule_that_short_runs_do_not_speak_against(run_to_end, narrow, monkeypatch):
    monkeypatch.setattr(choices, "_BESIDE_ADAMW", {"adamw": (15.0, "these few thousand parameters want more")})
    choice = chosen(run_to_end(short()))
    assert choice["value"] == 0.015
    assert "which is not clearly another" in choice["reason"]
    assert len(measured(choice)) >= 3


def test_a_short_run_takes_the_rate_that_stands_for_one_of_the_whole(run_to_end, narrow, monkeypatch):
    monkeypatch.setattr(choices, "_BESIDE_ADAMW", {"adamw": (15.0, "these few thousand parameters want more")})
    searched = []
    honest = auto._climb
    monkeypatch.setattr(auto, "_climb", lambda search, progress: searched.append(search) or honest(search, progress))
    run_to_end(short())
    assert searched[0].short(0) == pytest.approx(0.015 * (60 / searched[0].steps) ** 0.25, rel=0.05)
    assert searched[0].steps == 11


def test_the_run_after_the_search_is_the_run_with_that_rate_set(run_to_end, narrow):
    searched = run_to_end(short(), "searched")
    given = run_to_end(short(chosen(searched)["value"]), "given")
    assert losses(searched) == losses(given)
    assert artefact.verify(searched / "model").digest == artefact.verify(given / "model").digest


def test_a_resumed_run_keeps_the_recorded_rate_and_ends_bit_identical(run_to_end, narrow, monkeypatch):
    whole = run_to_end(short(), "whole")
    with pytest.raises(InterruptedRun):
        run_to_end(short(), "stopped", StopAt(4, signal.SIGTERM))
    monkeypatch.setattr(auto, "_search", None)  # a second search would fail
    resumed = run_to_end(short(), "stopped")
    assert chosen(resumed) == chosen(whole)
    assert artefact.verify(resumed / "model").digest == artefact.verify(whole / "model").digest


def test_a_multiplier_is_of_what_the_search_found(run_to_end, narrow):
    """The search is the one without it, so that `auto` with a multiplier of 2 trains at twice what `auto` trains at."""
    alone, doubled = chosen(run_to_end(short(), "alone")), chosen(run_to_end(short(schedule={"multiplier": 2}), "both"))
    assert doubled["value"] == pytest.approx(2 * alone["value"])
    assert doubled["reason"].startswith(alone["reason"])
    few = run_to_end(short(steps=8, schedule={"multiplier": 2}), "few")
    assert "too few" in chosen(few)["reason"]
    assert chosen(few)["value"] == 2e-3, "also where nothing could be searched"


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
        self.together = 1

    def step(self, step: int) -> list[int]:
        return list(range(self.rows))


@pytest.mark.parametrize("held_out", [1, 64, 256])
@pytest.mark.parametrize("rows", [4, 16, 64])
@pytest.mark.parametrize("steps", [20, 200, 500, 1000, 2000, 10_000])
def test_a_search_costs_at_most_a_tenth_of_the_run(steps, rows, held_out):
    trial = auto.room(Planned(steps, rows, held_out))
    if trial is None:
        assert steps < 1000
        return
    assert 5 * (trial * rows + min(64, held_out) / 3) <= 0.1 * steps * rows
