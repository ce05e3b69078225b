"""The one model that all trials of a sweep share: loaded once, put back to its start in place, adapted anew."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from peft import PeftModel
from transformers import PreTrainedModel

from metier.core import artefact
from metier.core.progress import Progress
from metier.core.types import Reasoned
from metier.forest.frozen import lowest_trained
from metier.model.adapt import count_parameters
from metier.model.find import Base
from metier.model.settings import ModelSettings
from metier.train import choices, frozen, held_out
from metier.train.fit import Fit
from metier.train.loading import Loaded, adapted, bare
from metier.train.material import Material
from metier.train.plan import TrainingPlan
from metier.train.run import assembled
from metier.train.sweep.kept import Remembering, remembering
from metier.train.sweep.space import lay
from metier.train.sweep.trial import Start

_IN_PLACE = {"method", "rank", "alpha", "dropout", "targets", "layers"}
"""Settings of the model between whose values a loaded base can be adapted anew."""

_ADAPTABLE = {"full", "lora", "layers"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Seat:
    """The model as one set of model settings has it, and what it started from."""

    settings: ModelSettings
    loaded: Loaded
    start: Start


class Bench:
    """Where trials take turns.

    Args:
        base: what all start from.
        material: rows, rendered once.
        folder: of the sweep; states of frozen layers are kept in it, once for all trials that freeze the same ones.
        progress: told when the base has to be loaded again.
    """

    def __init__(self, base: Base, material: Material, folder: Path, progress: Progress) -> None:
        self._base = base
        self._material = material
        self._folder = folder
        self._progress = progress
        self._seat: _Seat | None = None
        self._way: Remembering | None = None
        self._parameters = 0
        self.loads = 0

    def take(self, plan: TrainingPlan, run: Path, checks: int) -> tuple[Fit, Start]:
        """Return a trial's run of the loop, with the model at its start, and that start.

        Args:
            plan: of the trial.
            run: its folder.
            checks: how often its validation loss is measured.
        """
        seat = self._seated(plan)
        seat.start.restore()
        loaded = replace(seat.loaded, chosen=self._chosen(seat.loaded, plan))
        rows = plan.train.check.loss_rows or held_out.MOST  # the same for long trials and short ones
        evenly = plan.train.check.model_copy(update={"steps": None, "keep_epochs": 0, "loss_rows": rows})
        settings = plan.train.model_copy(update={"checks": checks, "check": evenly, "checkpoint_every": None})
        states = self._folder / f"{frozen.FOLDER}-{lowest_trained(seat.loaded.model)}-{plan.model.precision}"
        plan = replace(plan, train=settings)
        return assembled(run, loaded, plan, self._material, self._progress, states=states), seat.start

    def rate(self, plan: TrainingPlan) -> float:
        """Return the learning rate that a plan has, set or by rule, before `train.schedule.multiplier`."""
        loaded = self._seated(plan).loaded
        plan = lay(plan, {"train.schedule.multiplier": 1.0})
        return next(choice.value for choice in self._chosen(loaded, plan) if choice.name == "train.learning_rate")

    def _seated(self, plan: TrainingPlan) -> _Seat:
        if self._seat is not None and self._seat.settings == plan.model:
            return self._seat
        model = self._bare(plan) or self._load(plan)
        self._seat = None  # until the model is adapted anew, which may be refused
        loaded = adapted(model, self._base, plan, self._material, self._progress, run=self._folder)
        self._remember(loaded)
        self._way = remembering(loaded.way, self._way)
        loaded = replace(loaded, way=self._way)
        self._seat = _Seat(settings=plan.model, loaded=loaded, start=Start(loaded.model))
        return self._seat

    def _load(self, plan: TrainingPlan) -> PreTrainedModel:
        if self.loads:
            self._progress.say("the base is loaded again: this trial has it in another form")
        self._seat = None
        self.loads += 1
        model = bare(self._base, plan)
        self._parameters = count_parameters(model)
        return model

    def _bare(self, plan: TrainingPlan) -> PreTrainedModel | None:
        """Return the loaded base as it came, without what was adapted; None where it must be loaded again."""
        seat = self._seat
        if seat is None:
            return None
        before, after = seat.settings.model_dump(exclude=_IN_PLACE), plan.model.model_dump(exclude=_IN_PLACE)
        methods = {_value(seat.loaded, "model.method"), plan.model.method} - {"auto"}
        if before != after or plan.model.quantise != "none" or not methods <= _ADAPTABLE:
            return None
        seat.start.restore()
        model = seat.loaded.model
        if not isinstance(model, PeftModel):
            return model if isinstance(model, PreTrainedModel) else None
        return model.unload().eval()

    def _remember(self, loaded: Loaded) -> None:
        """Keep what was measured on this machine, so that a sweep that goes on does not choose it anew."""
        path = self._folder / "choices.json"
        if not path.is_file():
            artefact.write_file(path, json.dumps([asdict(choice) for choice in loaded.chosen], indent=1) + "\n")

    def _chosen(self, loaded: Loaded, plan: TrainingPlan) -> list[Reasoned]:
        """Return the choices of a trial: those of its training settings are made anew."""
        rows, plain = self._material.trained_rows, self._material.plain_text
        again = (
            choices.learning_rate(
                plan.train, _value(loaded, "model.method"), self._parameters, prefers=self._material.view.prefers
            ),
            choices.shape(plan.train),
            choices.epochs(plan.train, rows, plain_text=plain),
        )
        new = {choice.name: choice for choice in again}
        return [new.get(choice.name, choice) for choice in loaded.chosen]


def _value(loaded: Loaded, name: str) -> str:
    return next(choice.value for choice in loaded.chosen if choice.name == name)
