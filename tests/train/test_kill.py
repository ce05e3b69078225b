"""kill -9 at any moment, half of them inside a save: no repair by hand, and the same bits at the end."""

import json
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random

import pytest

from metier.core import artefact
from metier.core.progress import Silent
from metier.model.find import Base, find
from metier.train.plan import TrainingPlan
from metier.train.run import train
from tests.train import killing
from tests.train.conftest import plan

PLANS = {
    "full": plan(max_steps=24, checkpoint_every=2, checks=4, schedule={"shape": "linear"}),
    "lora with dropout": plan(
        {"method": "lora", "dropout": 0.2, "rank": 4}, max_steps=24, checkpoint_every=3, checks=4
    ),
}


def fingerprint(run: Path) -> dict[str, object]:
    """All that must be equal: every loss as hexadecimal, and the bytes of the weights and of the reference."""
    losses = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        entry = json.loads(line)
        for kind in ("loss", "validation_loss"):
            if f"{kind}_hex" in entry:
                assert (entry["step"], kind) not in losses
                losses[(entry["step"], kind)] = entry[f"{kind}_hex"]
    model = artefact.verify(run / "model", "model").digest
    return {"losses": losses, "model": model, "reference": artefact.verify(run / "parity-reference").digest}


def train_in_child(snapshot: Path, base: Base, run: Path, settings: TrainingPlan) -> BaseProcess:
    return killing.start(train, snapshot, base, run=run, settings=settings, progress=Silent())


def finish_despite_kills(
    snapshot: Path, base: Base, run: Path, settings: TrainingPlan, random: Random
) -> tuple[int, int]:
    """Train to the end under fire; returns how often it was killed, and how often inside a save."""
    kills = in_save = 0
    while True:
        child = train_in_child(snapshot, base, run, settings)
        aim_at_save = random.random() < 0.5
        status = killing.kill_in_save(child, run, random) if aim_at_save else killing.kill_at_random(child, random, 0.9)
        if status is not None:
            assert status == 0, "a resumed training failed: somebody would have had to repair it"
            return kills, in_save
        kills += 1
        in_save += aim_at_save


@pytest.mark.parametrize("name", PLANS)
def test_a_hundred_kills_change_nothing(name, tiny_base, tiny_snapshot, tmp_path):
    settings = PLANS[name]
    base = find(str(tiny_base), tiny_base)
    runs = tmp_path / ".metier" / "runs"
    assert killing.wait(train_in_child(tiny_snapshot, base, runs / "whole", settings)) == 0
    expected = fingerprint(runs / "whole")
    random = Random(name)
    kills = in_save = trial = 0
    while kills < 50:
        run = runs / f"trial-{trial}"
        killed, saved = finish_despite_kills(tiny_snapshot, base, run, settings, random)
        assert fingerprint(run) == expected
        assert not list(run.glob("**/.tmp-*"))
        kills, in_save, trial = kills + killed, in_save + saved, trial + 1
    assert in_save >= 15
