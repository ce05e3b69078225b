"""Models of the last epochs: each as it was when its epoch ended, also after an interruption."""

import json
import signal

import pytest
import torch
from safetensors.torch import load_file

from metier.core import artefact
from metier.core.errors import InterruptedRun
from tests.train.conftest import plan
from tests.train.test_resume import StopAt


def kept(keep, **changes):
    return plan(
        max_steps=None, epochs=3, rows_per_step=8, checks=1, patience=None, check={"keep_epochs": keep}, **changes
    )


def epochs(run):
    return {int(path.name): artefact.verify(path / "model", "model") for path in (run / "epochs").iterdir()}


def test_the_last_epochs_are_kept_as_they_were(run_to_end):
    run = run_to_end(kept(2))
    found = epochs(run)
    steps = sorted(found)
    assert len(steps) == 2
    assert steps[1] - steps[0] == steps[0] // 2, "the second and the third of three"
    for step in steps:
        model = load_file(str(run / "epochs" / str(step) / "model" / "model.safetensors"))
        trained = load_file(str(run / "checkpoints" / f"step-{step:08d}" / "trained.safetensors"))
        assert all(torch.equal(model[name], trained[name]) for name in trained)
        assert found[step].facts["step"] == step
    first, last = (found[step].files["model.safetensors"]["sha256"] for step in steps)
    assert first != last


def test_a_check_falls_where_an_epoch_ends_unless_its_steps_are_set(run_to_end):
    def checked(run):
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [line["step"] for line in lines if "validation_loss" in line]

    ended = run_to_end(kept(3), "ended")
    assert checked(ended) == sorted(epochs(ended))
    every = plan(max_steps=None, epochs=3, rows_per_step=8, check={"keep_epochs": 3, "steps": 1000})
    set_by_hand = run_to_end(every, "set")
    assert checked(set_by_hand) == [max(epochs(set_by_hand))]
    assert sorted(epochs(set_by_hand)) == sorted(epochs(ended))


def test_what_is_kept_changes_nothing_of_what_is_trained(run_to_end):
    """An interrupted run keeps the same models, and one that keeps none trains the same."""
    whole, none = run_to_end(kept(3), "whole"), run_to_end(kept(0), "none")
    assert not (none / "epochs").exists()
    with pytest.raises(InterruptedRun):
        run_to_end(kept(3), "stopped", StopAt(6, signal.SIGTERM))
    resumed = run_to_end(kept(3), "stopped")
    assert {step: found.digest for step, found in epochs(resumed).items()} == {
        step: found.digest for step, found in epochs(whole).items()
    }
    last = max(epochs(whole))
    ended = load_file(str(none / "checkpoints" / f"step-{last:08d}" / "trained.safetensors"))
    again = load_file(str(whole / "epochs" / str(last) / "model" / "model.safetensors"))
    assert all(torch.equal(again[name], ended[name]) for name in ended)
