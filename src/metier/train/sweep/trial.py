"""One trial, rung by rung: it goes on from its own checkpoint, and each finished rung is an artefact."""

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from metier.core import artefact
from metier.core.errors import LossSpikeError, NonFiniteError
from metier.core.progress import Silent
from metier.train import log
from metier.train.fit import Fit
from metier.train.optimisers.groups import trained_parameters

_KIND = "rung"
_FILE = "result.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A trial at a rung: `curve` holds (step, validation loss) so far, `seconds` are those of all its steps.

    `stopped`: early, since the loss no longer fell. `failed` says why it cannot go on ("": it can).
    """

    steps: int
    planned: int
    seconds: float
    best_step: int | None = None
    best_loss: float | None = None
    curve: tuple[tuple[int, float], ...] = ()
    stopped: bool = False
    failed: str = ""

    @property
    def loss(self) -> float:
        """The best validation loss so far; infinite when the trial failed."""
        return math.inf if self.failed or self.best_loss is None else self.best_loss


class Start:
    """The weights that train, as they are before the first step, to be put back in place.

    Args:
        model: adapted, not trained yet.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._values = {name: weight.detach().clone() for name, weight in trained_parameters(model).items()}

    @torch.no_grad()
    def restore(self) -> None:
        """Put every trained weight back."""
        for name, weight in trained_parameters(self._model).items():
            weight.copy_(self._values[name])
            weight.grad = None


def known(folder: Path, rung: int) -> Reached | None:
    """Return what was published when a trial reached a rung, or None."""
    target = folder / f"rung-{rung}"
    if not artefact.exists(target, _KIND):
        return None
    artefact.verify(target, _KIND)
    facts = artefact.read_json(target / _FILE)
    return Reached(**(facts | {"curve": tuple((step, loss) for step, loss in facts["curve"])}))


def advance(fit: Fit, start: Start, rung: int, until: int) -> Reached:
    """Train a trial up to a rung, from where its last checkpoint stands, and publish what it reached.

    Args:
        fit: the trial's own run of the loop, in its own folder.
        start: of the model that all trials share.
        rung: its number.
        until: steps at which the rung is reached.
    """
    if (before := known(fit.run_folder, rung)) is not None:
        return before
    start.restore()
    fit.run_folder.mkdir(parents=True, exist_ok=True)
    failed, place = "", None
    try:
        place = replace(fit, until=until).run(Silent())
    except (NonFiniteError, LossSpikeError) as error:
        failed = error.found
    steps, seconds = _spent(fit.run_folder / "metrics.jsonl")
    reached = Reached(
        steps=place.step if place is not None else steps,
        planned=fit.order.steps,
        seconds=place.seconds if place is not None else seconds,
        best_step=place.best_step if place is not None else None,
        best_loss=place.best_loss if place is not None else None,
        curve=_curve(fit.run_folder / "metrics.jsonl"),
        stopped=place is not None and place.stopped,
        failed=failed,
    )
    with artefact.publish(fit.run_folder / f"rung-{rung}", kind=_KIND) as folder:
        (folder / _FILE).write_text(json.dumps(asdict(reached)) + "\n", encoding="utf-8")
    return reached


def forget_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a trial that does not go on; what it reached stays."""
    for checkpoint in (folder / "checkpoints").glob("step-*"):
        artefact.remove(checkpoint)


def _curve(path: Path) -> tuple[tuple[int, float], ...]:
    entries = log.read(path)
    return tuple((entry["step"], entry["validation_loss"]) for entry in entries if "validation_loss" in entry)


def _spent(path: Path) -> tuple[int, float]:
    """Return how many steps a log holds, and their seconds."""
    entries = log.read(path)
    taken = [entry["seconds"] for entry in entries if "loss" in entry]
    return len(taken), math.fsum(taken)
