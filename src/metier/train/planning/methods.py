"""What each way of training would take with a base: whole, LoRA and LoRA on few bits, from its configuration alone."""

from dataclasses import dataclass, replace

import torch

from metier.model.adapt import may_be_rounded
from metier.model.find import Base
from metier.model.quantise.freeze import Quantisation
from metier.text.rendered import Rendered
from metier.train import choices
from metier.train.plan import TrainingPlan
from metier.train.planning.choose import Planned
from metier.train.planning.run import choose_for, epoch, setting_of
from metier.train.views import View

_WAYS: tuple[tuple[str, Quantisation], ...] = (("full", "none"), ("lora", "none"), ("lora", "int8"), ("lora", "nf4"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way of training planned: what it is called, its plan, the seconds of an epoch (None: not timed)."""

    name: str
    planned: Planned
    seconds: float | None


def methods(base: Base, settings: TrainingPlan, rendered: Rendered, view: View) -> list[Method]:
    """Plan every method as it would be chosen here: the fastest micro-batch that fits, recomputing only where needed.

    Args:
        base: as found; its weights are not looked at.
        settings: of the project; its method, number format and micro-batch are left aside.
        rendered: the training rows under this base.
        view: what the objective makes of them.

    Raises:
        SettingsError: the architecture does not let itself be gone through.
    """
    torch.set_num_threads(choices.threads(settings.train).value)
    found = []
    for name, quantise in _WAYS:
        if quantise != "none" and (view.targets is not None or not may_be_rounded(settings.model)):
            continue
        model = settings.model.model_copy(
            update={"method": name, "quantise": quantise, "gradient_checkpointing": None}
        )  # fmt: skip
        train = settings.train.model_copy(update={"micro_batch_tokens": None})
        plan = replace(settings, model=model, train=train)
        planned = choose_for(base, plan, rendered, view)
        setting, _ = setting_of(base, plan, view)
        seconds = epoch(planned, setting) if planned.fits else None
        found.append(Method(name=planned.simulation.configuration.name, planned=planned, seconds=seconds))
    return found
