"""What the tests of training share: a plan of a few steps, and a run to its end."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest

from metier.core.progress import Progress, Silent
from metier.model.find import find
from metier.model.settings import ModelSettings
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.snapshot import prepare
from metier.text.settings import TextSettings
from metier.train.plan import TrainingPlan
from metier.train.run import train
from metier.train.settings import OptimiserSettings, TrainSettings
from tests.conftest import write_chats

OPTIONAL = {"adamw-8bit": "bitsandbytes", "schedule-free": "schedulefree"}
EVERY_OPTIMISER = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name in OPTIONAL and find_spec(OPTIONAL[name]) is None, reason=f"pip install 'metier[{name}]'"
        ),
    )
    for name in get_args(OptimiserSettings.model_fields["name"].annotation)
]
"""Names of optimisers for a parametrised test; those whose library is missing are skipped."""

SHORT = {"max_steps": 12, "rows_per_step": 8, "checks": 3, "threads": 1, "micro_batch_tokens": 128}


def plan(model: dict[str, Any] | None = None, seed: int = 0, **settings: Any) -> TrainingPlan:
    return TrainingPlan(
        text=TextSettings(),
        model=ModelSettings(**({"method": "full"} | (model or {}))),
        train=TrainSettings(**(SHORT | settings)),
        seed=seed,
    )


@pytest.fixture
def run_to_end(tiny_base: Path, tiny_snapshot: Path, tmp_path: Path) -> Callable[..., Path]:
    """Train and return the run's folder."""

    def run(
        settings: TrainingPlan, name: str = "run", progress: Progress | None = None, snapshot: Path | None = None
    ) -> Path:
        base = find(str(tiny_base), tiny_base)
        folder = tmp_path / ".metier" / "runs" / name
        return train(snapshot or tiny_snapshot, base, run=folder, settings=settings, progress=progress or Silent())

    return run


def planted_snapshot(factory: pytest.TempPathFactory, *, weight: float = 1e4, faults: int = 2) -> Path:
    """Return a snapshot of 64 training rows, of which the last few are noise that outweighs all others of its step.

    With seed 11 and 8 rows a step the two rows of noise come in steps 5, 6, 13 and 15.
    """
    folder = factory.mktemp("planted")
    write_chats(folder / "train.jsonl", 72 - faults)  # eight of them are validation rows and will be dropped
    write_chats(folder / "validation.jsonl", 8)
    random = Random(0)
    with (folder / "train.jsonl").open("a", encoding="utf-8") as stream:
        for number in range(faults):
            noise = "".join(random.choice("XQZ#@~^") for _ in range(60))
            turns = [{"role": "user", "content": f"noise {number}"}, {"role": "assistant", "content": noise}]
            stream.write(json.dumps({"messages": turns, "weight": weight}) + "\n")
    data = DataSettings(train="train.jsonl", validation="validation.jsonl")
    settings = PrepareSettings(test_share=0, columns={"weight": "weight"})
    return prepare(data, settings, folder=folder, store=folder / ".metier", seed=0, progress=Silent()).path
