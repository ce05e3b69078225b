"""Plan a run from its rendered rows and its base's configuration; no weight is loaded."""

import torch

from metier.core.errors import SettingsError
from metier.core.memory import resident, room
from metier.core.progress import Progress
from metier.forest.arrange import arrange
from metier.model.adapt import choose_method
from metier.model.arithmetic import rates
from metier.model.find import Base
from metier.model.load import device_here
from metier.model.quiet import LIBRARY_FAULTS
from metier.model.shapes import outline
from metier.text.rendered import Rendered
from metier.train import choices
from metier.train.batches import Order
from metier.train.plan import TrainingPlan
from metier.train.planning.choose import Planned, choose, require_fit
from metier.train.planning.lint import misplaced
from metier.train.planning.predict import Configuration, Setting, measured_rates, simulate, step_seconds
from metier.train.planning.report import Plan

_FALLBACK = 1024
_PLANNED = ("auto", "full", "lora", "layers")
"""Methods whose step the planner can go through; others take the fallback."""


def choose_for(base: Base, settings: TrainingPlan, rendered: Rendered) -> Planned:
    """Choose how a run computes; see `choose`."""
    setting, method = _setting(base, settings)
    order = _order(settings, rendered)
    asked = (settings.train.micro_batch_tokens, settings.model.gradient_checkpointing)
    return choose(setting, method, rendered=rendered, order=order, asked=asked, room=_room())


def settle(base: Base, settings: TrainingPlan, rendered: Rendered, progress: Progress) -> tuple[int, bool]:
    """Return the micro-batch tokens and checkpointing of a run, and say them.

    Raises:
        SettingsError: the run cannot fit.
    """
    tokens, checkpointing = settings.train.micro_batch_tokens, settings.model.gradient_checkpointing
    if settings.model.method not in _PLANNED or settings.model.quantise != "none":
        return tokens or _FALLBACK, bool(checkpointing)
    try:
        planned = choose_for(base, settings, rendered)
    except (SettingsError, *LIBRARY_FAULTS) as error:
        progress.say(f"plan: no prediction for this base ({error})")
        return tokens or _FALLBACK, bool(checkpointing)
    require_fit(
        planned, "`metier plan` lists what would fit: LoRA, a smaller train.micro_batch_tokens, or a smaller base"
    )
    progress.say(planned.line())
    found = misplaced(planned.usage.heaviest, planned.simulation.configuration.micro_batch_tokens)
    if found is not None:
        progress.say(found.said())
    for choice in planned.choices(checkpointing, tokens):
        progress.chose(choice)
    chosen = planned.simulation.configuration
    return chosen.micro_batch_tokens, chosen.checkpointing


def make(base: Base, settings: TrainingPlan, rendered: Rendered) -> Plan:
    """Plan a run, with the time of an epoch and the alternatives.

    Raises:
        SettingsError: the architecture does not let itself be gone through, or the objective is not chat.
    """
    if settings.train.objective.name not in ("auto", "chat"):
        raise SettingsError(f"metier plan with train.objective {settings.train.objective.name}", "the objective chat")
    torch.set_num_threads(choices.threads(settings.train).value)
    setting, _ = _setting(base, settings)
    chosen = choose_for(base, settings, rendered)
    done = chosen.simulation.configuration
    ways = [("full", None), ("lora", None), ("lora", "nf4"), ("lora", "int8")] if base.kind != "config" else []
    alternatives = []
    for way, quantise in ways:
        for checkpointing in (False, True):
            other = Configuration(
                method=way, checkpointing=checkpointing, micro_batch_tokens=done.micro_batch_tokens, quantise=quantise
            )
            if other == done:
                continue
            simulation = simulate(setting, other, arrange(chosen.usage.heaviest, other.micro_batch_tokens))
            planned = Planned(simulation=simulation, usage=chosen.usage, room=chosen.room)
            alternatives.append((planned, None if quantise else _epoch(planned, setting)))
    return Plan(
        chosen=chosen,
        seconds=_epoch(chosen, setting),
        alternatives=tuple(alternatives),
        misplaced=misplaced(chosen.usage.heaviest, done.micro_batch_tokens),
        choices=tuple(chosen.choices(settings.model.gradient_checkpointing, settings.train.micro_batch_tokens)),
    )


def _epoch(planned: Planned, setting: Setting) -> float:
    """Return the seconds of an epoch: those of its heaviest step, by its share of the tokens."""
    work = arrange(planned.usage.heaviest, planned.simulation.configuration.micro_batch_tokens)
    seconds = step_seconds(planned.simulation, work, measured_rates(planned.simulation, setting, device_here()))
    return seconds * planned.usage.shared / work.computed


def _setting(base: Base, settings: TrainingPlan) -> tuple[Setting, str]:
    model = outline(base.folder)
    method, _ = choose_method(model, base, settings.model)
    width = model.config.get_text_config().hidden_size
    precision = choices.precision(settings.model, device_here(), width=width, kept={}, measure=rates)
    bfloat16 = precision.value == "bfloat16"
    on_gpu = device_here().type == "cuda"
    return Setting(base=base, model=settings.model, process=0 if on_gpu else resident(), bfloat16=bfloat16), method


def _room() -> int:
    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else room()


def _order(settings: TrainingPlan, rendered: Rendered) -> Order:
    return Order(len(rendered), settings.train.rows_per_step, len(rendered), settings.seed)
