"""What the tests of sweeps share: a small search, and one to its end."""

from pathlib import Path
from typing import Any

from metier.core.progress import Progress, Silent
from metier.model.find import find
from metier.train.plan import TrainingPlan
from metier.train.sweep.search import sweep
from metier.train.sweep.settings import SweepSettings
from tests.train.conftest import plan

SMALL: dict[str, Any] = {"trials": 4, "rungs": 2, "reduction": 2}
STEPS = 8


def small(**changes: Any) -> SweepSettings:
    return SweepSettings(**(SMALL | changes))


class Workshop:
    """Runs sweeps over a tiny base and forty conversations."""

    def __init__(self, base: Path, snapshot: Path, folder: Path) -> None:
        self.base = base
        self.snapshot = snapshot
        self.store = folder / ".metier"

    def __call__(
        self,
        settings: SweepSettings,
        name: str = "sweep",
        progress: Progress | None = None,
        settings_of_run: TrainingPlan | None = None,
    ) -> Path:
        found = find(str(self.base), self.base)
        folder = self.store / "sweeps" / name
        project = settings_of_run or plan(max_steps=STEPS)
        return sweep(
            self.snapshot, found, folder=folder, plan=project, settings=settings, progress=progress or Silent()
        )
