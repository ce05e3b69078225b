"""What the tests of training share: a plan of a few steps, and a run to its end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.core.progress import Progress, Silent
from metier.model.find import find
from metier.model.settings import ModelSettings
from metier.text.settings import TextSettings
from metier.train.plan import TrainingPlan
from metier.train.run import train
from metier.train.settings import TrainSettings

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

    def run(settings: TrainingPlan, name: str = "run", progress: Progress | None = None) -> Path:
        base = find(str(tiny_base), tiny_base)
        folder = tmp_path / ".metier" / "runs" / name
        return train(tiny_snapshot, base, run=folder, settings=settings, progress=progress or Silent())

    return run
