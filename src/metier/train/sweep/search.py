"""The sweep: propose, train to a rung, keep the better ones; the same call goes on where a killed one stopped."""

import json
import math
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from metier.core import artefact, extras, lock
from metier.core.errors import DataError, InputError, RunError
from metier.core.progress import Progress
from metier.model.arithmetic import float32_means_float32
from metier.model.find import Base
from metier.model.load import device_here
from metier.train import choices, device
from metier.train.material import gather
from metier.train.plan import TrainingPlan
from metier.train.sweep import halving
from metier.train.sweep.bench import Bench
from metier.train.sweep.propose import EXTRA, Proposer
from metier.train.sweep.report import write
from metier.train.sweep.settings import SWEPT, SweepSettings
from metier.train.sweep.space import Axis, Point, Range, lay, read, value_in
from metier.train.sweep.trial import Reached, advance, forget_checkpoints
from metier.train.views import require_loss

_KIND = "sweep"
_RATE = "train.learning_rate"
_AROUND = 10.0


@dataclass(slots=True, kw_only=True)
class Trial:
    """A configuration under way. `point` holds what it sets, `shown` the values of all searched settings."""

    number: int
    point: Point
    shown: Point
    rung: int = -1
    reached: Reached | None = None


@dataclass(kw_only=True)
class Search:
    """A sweep under way."""

    bench: Bench
    folder: Path
    plan: TrainingPlan
    settings: SweepSettings
    axes: Mapping[str, Axis]
    trials: list[Trial] = field(default_factory=list)

    def run(self, progress: Progress) -> None:
        """Let trials begin, and halve them from rung to rung."""
        with progress.task("sweep", self._total()) as bar:
            self._begin(bar)
            going = self._ranked(self.trials)
            widths = halving.widths(len(self.trials), self.settings.rungs, self.settings.reduction)
            for rung, width in list(enumerate(widths))[1:]:
                for trial in self.trials:
                    if trial not in going[:width]:
                        forget_checkpoints(self._place(trial))
                going = self._climb(going, rung, width, bar)
        if not going:
            last = max(self.trials, key=lambda trial: trial.rung)
            raise RunError(
                f"every trial failed, the last one: {last.reached.failed if last.reached else ''}",
                "a configuration that trains",
                "search lower learning rates",
            )

    def _climb(self, candidates: list[Trial], rung: int, width: int, bar: Any) -> list[Trial]:
        """Let the best go on until so many have reached a rung; one that fails leaves its place to the next."""
        arrived: list[Trial] = []
        for trial in candidates:
            if len(arrived) == width:
                break
            if math.isfinite(self._advance(trial, rung).loss):
                arrived.append(trial)
            bar.advance(1, _figures(trial))
        return self._ranked(arrived)

    def _begin(self, bar: Any) -> None:
        """Train the project as it is, then whatever is proposed, to the first rung."""
        proposer = Proposer(self.axes, self.settings, self.plan.seed)
        point: Point | None = {}
        while point is not None and len(self.trials) < self.settings.trials:
            shown = self._shown(point)
            trial = Trial(number=len(self.trials), point=point, shown=shown)
            self.trials.append(trial)
            loss = self._advance(trial, 0).loss
            proposer.tell(shown, loss if math.isfinite(loss) else None)
            bar.advance(1, _figures(trial))
            point = proposer.next()

    def _advance(self, trial: Trial, rung: int) -> Reached:
        place = self._place(trial)
        _same_point(place, trial)
        plan = lay(self.plan, trial.point)
        wanted = halving.checks(self.settings.rungs, self.settings.reduction, plan.train.checks)
        trial.rung = rung
        try:
            fit, start = self.bench.take(plan, place, wanted)
        except InputError as error:
            if not trial.point:
                raise
            trial.reached = Reached(
                steps=0, planned=0, seconds=0.0, failed=error.found
            )  # settings that exclude another
            return trial.reached
        until = halving.rung_steps(fit.order.steps, self.settings.rungs, self.settings.reduction)[rung]
        trial.reached = advance(fit, start, rung, until)
        return trial.reached

    def _ranked(self, trials: list[Trial]) -> list[Trial]:
        losses = {trial.number: trial.reached.loss if trial.reached else math.inf for trial in trials}
        return [self.trials[number] for number in halving.ranked(losses)]

    def _shown(self, point: Point) -> dict[str, Any]:
        plan = lay(self.plan, point)
        shown = {name: value_in(plan, name) for name in self.axes}
        if shown.get(_RATE, 0) is not None:
            return shown
        with suppress(InputError):  # settings that exclude one another: told when the trial is to begin
            shown[_RATE] = self.bench.rate(plan)
        return shown

    def _place(self, trial: Trial) -> Path:
        return self.folder / "trials" / f"{trial.number:03d}"

    def _total(self) -> int:
        count, total = self.settings.trials, 0
        for _ in range(self.settings.rungs):
            total, count = total + count, math.ceil(count / self.settings.reduction)
        return total


def sweep(snapshot: Path, base: Base, *, folder: Path, plan: TrainingPlan, settings: SweepSettings,
          progress: Progress) -> Path:  # fmt: skip
    """Search settings for the lowest validation loss.

    Args:
        snapshot: a prepared snapshot.
        base: as found by `model.find`.
        folder: of the sweep; a finished one is returned as it is, an unfinished one goes on.
        plan: the project as it is; the settings that are not searched hold for all trials.
        settings: what to search, and how far.
        progress: who listens.

    Returns:
        The published result: sweep.json, and the report as HTML and Markdown.

    Raises:
        MissingExtraError: Optuna is not installed.
        DataError: there are no validation rows to compare trials on.
        InterruptedRun: stopped on request after publishing a checkpoint; the same call goes on.
        RunError: every trial failed.
    """
    with lock.held(folder):
        if artefact.exists(folder / SWEPT, _KIND):
            return folder / SWEPT
        extras.require(EXTRA)
        artefact.sweep(folder)
        if plan.train.learning_rate == "auto":
            plan = lay(plan, {_RATE: None})
        threads = choices.threads(plan.train)
        torch.set_num_threads(threads.value)
        float32_means_float32()
        axes = read(settings.over)
        material = gather(snapshot, base, folder, _with_replay(plan, axes), progress)
        require_loss(material.view)
        if not len(material.validation):
            raise DataError(
                f"{snapshot}: no validation rows", "some to compare trials on", "raise prepare.validation_share"
            )
        with device.alone(device_here(), folder, progress):
            bench = Bench(base, material, folder, progress)
            axes = axes or _rates(bench.rate(lay(plan, {_RATE: None})))
            search = Search(bench=bench, folder=folder, plan=plan, settings=settings, axes=axes)
            search.run(progress)
        _publish(search)
        _clear(folder)
    return folder / SWEPT


def _rates(middle: float) -> dict[str, Axis]:
    return {_RATE: Range(low=middle / _AROUND, high=middle * _AROUND, log=True)}


def _with_replay(plan: TrainingPlan, axes: Mapping[str, Axis]) -> TrainingPlan:
    """Return a plan that has general rows rendered if any trial reads them."""
    name = "train.regularise.replay"
    return lay(plan, {name: 0.5}) if name in axes else plan


def _same_point(place: Path, trial: Trial) -> None:
    """Check that a trial that goes on is the one that began in this folder, or record it.

    Raises:
        DataError: another one was proposed then.
    """
    path, text = place / "point.json", json.dumps([trial.point, trial.shown])
    if not path.is_file():
        artefact.write_file(path, text + "\n")
    elif path.read_text(encoding="utf-8").strip() != text:
        raise DataError(
            f"{place}: began with {path.read_text(encoding='utf-8').strip()}, proposed now: {text}",
            "the same proposals (same seed, space and version of Optuna)",
            f"delete {place.parent.parent} to search afresh",
        )


def _publish(search: Search) -> None:
    ranked = sorted(search.trials, key=lambda trial: (-trial.rung, trial.reached.loss if trial.reached else math.inf))
    entries = [
        {
            "number": trial.number,
            "point": dict(trial.point),
            "settings": dict(trial.shown),
            "rung": trial.rung,
            **asdict(trial.reached or Reached(steps=0, planned=0, seconds=0.0)),
        }
        for trial in ranked
    ]
    facts = {
        "over": {name: _described(axis) for name, axis in search.axes.items()},
        "settings": search.settings.model_dump(mode="json"),
        "trials": entries,
    }
    with artefact.publish(search.folder / SWEPT, kind=_KIND) as folder:
        (folder / "sweep.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        write(folder)


def _described(axis: Axis) -> Any:
    return asdict(axis) if isinstance(axis, Range) else list(axis.values)


def _clear(folder: Path) -> None:
    """Delete the weights of all trials and the states of frozen layers; what the trials reached stays."""
    for trial in (folder / "trials").iterdir():
        forget_checkpoints(trial)
    for states in folder.glob("frozen-*"):
        shutil.rmtree(states)


def _figures(trial: Trial) -> dict[str, float]:
    return {"validation": trial.reached.loss if trial.reached else math.inf}
