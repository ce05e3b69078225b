"""The guard: what it finds in planted rows, what it does then, and that a resumed run does the same."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from metier.core.errors import InterruptedRun, LossSpikeError, NonFiniteError
from metier.train import guard
from metier.train.checkpoint import Place
from metier.train.settings import GuardSettings
from tests.train.conftest import plan, planted_snapshot
from tests.train.test_kill import fingerprint
from tests.train.test_resume import StopAt

FAST = {"seed": 11, "learning_rate": 1e-2, "schedule": {"warmup": 0.0}}
FOUND = [5, 6, 13]
"""Steps whose loss a row of noise makes leap, with seed 11."""


def guarded(steps: int = 14, **settings: Any):
    guards = {"threshold": 0.5, "window": 5} | settings
    return plan(**FAST, max_steps=steps, checks=1, guard=guards)


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Path:
    return planted_snapshot(tmp_path_factory)


@pytest.fixture(scope="module")
def endless(tmp_path_factory) -> Path:
    """Rows of noise whose weight makes the loss too large for a float32."""
    return planted_snapshot(tmp_path_factory, weight=3e38)


def entries(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def weights(run: Path, step: int) -> dict[str, bytes]:
    tensors = load_file(str(run / "checkpoints" / f"step-{step:08d}" / "trained.safetensors"))
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def test_a_leap_is_left_out_and_told(planted, run_to_end):
    run = run_to_end(guarded(), snapshot=planted)
    events = [entry for entry in entries(run) if "guard" in entry]
    assert [event["step"] for event in events] == FOUND
    assert "after a median of" in events[0]["found"]
    assert "train.jsonl:" in events[0]["found"]
    assert events[0]["did"] == "step left out"
    assert not {entry["step"] for entry in entries(run) if "loss" in entry} & set(FOUND)
    assert json.loads((run / "summary.json").read_text())["refused_steps"] == 3


def test_a_step_left_out_changes_no_weight(planted, run_to_end):
    run = run_to_end(guarded(steps=5), snapshot=planted)
    before = run_to_end(guarded(steps=5, threshold=None), "without", snapshot=planted)
    every = plan(**FAST, max_steps=5, checks=1, checkpoint_every=1, guard={"threshold": 0.5, "window": 5})
    steps = run_to_end(every, "every", snapshot=planted)
    assert weights(steps, 5) == weights(steps, 4) == weights(run, 5)
    assert weights(before, 5) != weights(run, 5)


def test_the_rate_is_lowered_from_there_on(planted, run_to_end):
    rates = {
        name: {entry["step"]: entry["learning_rate"] for entry in entries(run) if "loss" in entry}
        for name, run in (
            ("skip", run_to_end(guarded(), "skip", snapshot=planted)),
            ("lower", run_to_end(guarded(on_spike="lower_rate", lower_by=0.25), "lower", snapshot=planted)),
        )
    }
    assert rates["lower"][4] == rates["skip"][4]
    assert rates["lower"][7] == pytest.approx(rates["skip"][7] / 16)


def test_rolling_back_restores_the_last_scheduled_checkpoint(planted, run_to_end):
    settings = plan(
        **FAST,
        max_steps=5,
        checks=1,
        checkpoint_every=3,
        guard={"threshold": 0.5, "window": 5, "on_spike": "roll_back"},
    )
    run = run_to_end(settings, snapshot=planted)
    event = next(entry for entry in entries(run) if "guard" in entry)
    assert event["did"] == "weights and optimiser put back to step 3"
    assert weights(run, 5) == weights(run, 3)


def test_before_the_first_checkpoint_rolling_back_leads_to_the_start(planted, run_to_end):
    run = run_to_end(guarded(steps=5, on_spike="roll_back"), snapshot=planted)
    assert weights(run, 5) == weights(run, 0)


@pytest.mark.parametrize("on_spike", ["skip", "lower_rate", "roll_back"])
@pytest.mark.parametrize("stop", [4, 5, 7])
def test_a_resumed_run_refuses_the_same_steps(on_spike, stop, planted, run_to_end):
    whole = run_to_end(guarded(on_spike=on_spike), f"whole-{on_spike}", snapshot=planted)
    with pytest.raises(InterruptedRun):
        run_to_end(guarded(on_spike=on_spike), "cut", StopAt(stop, signal.SIGTERM), snapshot=planted)
    assert fingerprint(run_to_end(guarded(on_spike=on_spike), "cut", snapshot=planted)) == fingerprint(whole)


def test_stop_names_the_step_and_the_rows(planted, run_to_end):
    with pytest.raises(LossSpikeError, match=r"step 5: a loss of .* after a median of .*rows .*train\.jsonl:"):
        run_to_end(guarded(on_spike="stop"), snapshot=planted)


def test_too_many_in_a_row_stop_whatever_is_wanted(planted, run_to_end):
    with pytest.raises(LossSpikeError, match="2 steps in a row"):
        run_to_end(guarded(most_in_a_row=1), snapshot=planted)


def test_what_is_not_finite_is_left_out_too(endless, run_to_end):
    run = run_to_end(guarded(threshold=None), snapshot=endless)
    events = [entry for entry in entries(run) if "guard" in entry]
    assert [event["step"] for event in events] == FOUND
    assert events[0]["found"].startswith("a loss of inf")
    with pytest.raises(NonFiniteError, match="step 5: a loss of inf"):
        run_to_end(guarded(threshold=None, on_spike="stop"), "stopped", snapshot=endless)


def test_a_leap_is_measured_against_the_last_steps():
    settings = GuardSettings(threshold=5, window=10)
    quiet = Place(recent_losses=(1.0, 1.02, 0.98, 1.0))
    assert guard.spike(1.6, quiet, settings)
    assert not guard.spike(1.4, quiet, settings), "deviations count as 0.1 nats at least"
    assert not guard.spike(100.0, Place(recent_losses=(1.0,)), settings), "one loss is no history"
    restless = Place(recent_losses=(1.0, 3.0, 2.0, 4.0, 1.0))
    assert not guard.spike(8.0, restless, settings)
    assert not guard.spike(100.0, quiet, GuardSettings(threshold=None))
    kept = guard.remember(2.0, Place(recent_losses=tuple(range(10)), refused_in_a_row=2), settings)
    assert kept.recent_losses == (*range(1, 10), 2.0)
    assert kept.refused_in_a_row == 0
