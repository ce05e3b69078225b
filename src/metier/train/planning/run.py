"""Plan a run from its rendered rows and its base's configuration; no weight is loaded."""

from dataclasses import replace
from functools import partial
from typing import Any

import torch

from metier.core.errors import SettingsError
from metier.core.memory import resident, room
from metier.core.progress import Progress
from metier.core.types import Reasoned
from metier.forest.arrange import Arrangement
from metier.model.adapt import choose_method, may_be_rounded
from metier.model.arithmetic import rates
from metier.model.find import Base
from metier.model.head import require_method
from metier.model.load import device_here
from metier.model.quantise.freeze import Quantisation, described
from metier.model.quiet import LIBRARY_FAULTS
from metier.model.shapes import outline
from metier.model.stored import is_in_bfloat16
from metier.model.ways import ia3
from metier.model.ways.virtual import stands_in_front
from metier.text.rendered import Rendered
from metier.train import choices
from metier.train.batches import Order, Ordered
from metier.train.plan import TrainingPlan
from metier.train.planning import pairs
from metier.train.planning.choose import UNPLANNED_TOKENS, Planned, choose, require_fit
from metier.train.planning.lint import Misplaced, misplaced
from metier.train.planning.pace import Pace, measure
from metier.train.planning.predict import Configuration, Setting, adapted_outline, simulate
from metier.train.planning.report import Plan
from metier.train.planning.tokens import usage
from metier.train.preferring import Pairs
from metier.train.views import View

_INSTEAD = {
    "rewards": "start the run: it says after every step what it takes, and goes on where it was stopped",
    "bits": "plan the same settings with --model.quantise none, or with --model.method lora",
}
_CHOSEN = ("train.micro_batch_tokens", "model.gradient_checkpointing")


def choose_for(base: Base, settings: TrainingPlan, rendered: Rendered, view: View) -> Planned:
    """Choose how a run computes; see `choose`."""
    setting, method = setting_of(base, settings, view)
    rendered, order = _epoch_of(settings, rendered, view)
    asked = (settings.train.micro_batch_tokens, settings.model.gradient_checkpointing)
    return choose(setting, method, rendered=rendered, order=order, asked=asked, room=_room())


def _epoch_of(settings: TrainingPlan, rendered: Rendered, view: View) -> tuple[Rendered, Ordered]:
    """Return the rows of an epoch and the order in which they are drawn."""
    rows = len(rendered) // view.together
    order = Order(rows, settings.train.rows_per_step, rows, settings.seed, curriculum=view.curriculum)
    return (pairs.unasked(rendered), Pairs(order)) if view.prefers else (rendered, order)


def settle(
    base: Base,
    settings: TrainingPlan,
    rendered: Rendered,
    progress: Progress,
    *,
    kept: dict[str, Any],
    view: View,
) -> tuple[TrainingPlan, list[Reasoned]]:
    """Fix the micro-batches and the checkpointing of a run.

    Args:
        base: as found.
        settings: of the run; what is null in them is chosen.
        rendered: the training rows.
        progress: told of the plan.
        kept: what the run chose when it began; it keeps that, whatever memory is free now.
        view: what the objective makes of the rows.

    Returns:
        The settings with nothing left to choose, and both choices with their reasons.

    Raises:
        SettingsError: the run cannot fit.
    """
    if all(name in kept for name in _CHOSEN):
        return _fixed(settings, [Reasoned(name=name, value=kept[name], reason="as this run began") for name in _CHOSEN])
    if not_planned := _not_planned(settings, view):
        return _fixed(settings, _without_plan(settings, f"not planned: {not_planned}"))
    try:
        planned = choose_for(base, settings, rendered, view)
    except (SettingsError, *LIBRARY_FAULTS) as error:
        return _fixed(settings, _without_plan(settings, f"no prediction for this base: {error}"))
    require_fit(
        planned, "`metier plan` lists what would fit: LoRA, a smaller train.micro_batch_tokens, or a smaller base"
    )
    progress.say(planned.line())
    found = _misplaced(planned, settings)
    if found is not None:
        progress.say(found.said())
    asked = settings.model.gradient_checkpointing, settings.train.micro_batch_tokens
    return _fixed(settings, planned.choices(*asked))


def _not_planned(settings: TrainingPlan, view: View) -> str:
    """Return why the planner has nothing to say of a run, or ""."""
    if view.rewards:
        return f"the objective {view.objective.name}"
    method, quantise = settings.model.method, settings.model.quantise
    if quantise != "none" and method not in ("auto", "lora"):
        return f"method {method} on a base in {quantise}"
    return ""


def _without_plan(settings: TrainingPlan, reason: str) -> list[Reasoned]:
    tokens, checkpointing = settings.train.micro_batch_tokens, settings.model.gradient_checkpointing
    values = (tokens or UNPLANNED_TOKENS, bool(checkpointing))
    set_ones = (tokens is not None, checkpointing is not None)
    return [
        Reasoned(name=name, value=value, reason="as set" if is_set else reason)
        for name, value, is_set in zip(_CHOSEN, values, set_ones, strict=True)
    ]


def _fixed(settings: TrainingPlan, choices: list[Reasoned]) -> tuple[TrainingPlan, list[Reasoned]]:
    tokens, checkpointing = ({choice.name: choice.value for choice in choices}[name] for name in _CHOSEN)
    fixed = replace(
        settings,
        train=settings.train.model_copy(update={"micro_batch_tokens": tokens}),
        model=settings.model.model_copy(update={"gradient_checkpointing": checkpointing}),
    )
    return fixed, choices


def make(base: Base, settings: TrainingPlan, rendered: Rendered, view: View) -> Plan:
    """Plan a run, with the time of an epoch and the alternatives.

    Raises:
        SettingsError: the architecture does not let itself be gone through, or nothing is known of such a run.
    """
    if not_planned := _not_planned(settings, view):
        wanted = "any method, on a base in fewer bits LoRA; words, preferences, a head or distillation"
        raise SettingsError(f"metier plan: {not_planned}", wanted, _INSTEAD["rewards" if view.rewards else "bits"])
    torch.set_num_threads(choices.threads(settings.train).value)
    setting, method = setting_of(base, settings, view)
    if view.targets is not None:
        require_method(method, settings.model)
    chosen = choose_for(base, settings, rendered, view)
    done = chosen.simulation.configuration
    counted = {setting.way(done.method): chosen.usage}
    alternatives = []
    for other in _others(base, settings, done):
        if view.targets is not None and other.quantise != "none":
            continue
        arrange = partial(setting.arrange, budget=other.micro_batch_tokens, method=other.method)
        way = setting.way(other.method)
        if way not in counted:
            counted[way] = usage(*_epoch_of(settings, rendered, view), arrange)
        simulation = simulate(setting, other, arrange(counted[way].heaviest))
        planned = Planned(simulation=simulation, usage=counted[way], room=chosen.room)
        alternatives.append((planned, epoch(planned, setting)))
    found = paced(chosen, setting)
    return Plan(
        chosen=chosen,
        seconds=None if found is None else of_epoch(chosen, setting, found),
        before=pairs.seconds(rendered, found) if found is not None and view.prefers else None,
        alternatives=tuple(alternatives),
        misplaced=_misplaced(chosen, settings),
        choices=(
            *chosen.choices(settings.model.gradient_checkpointing, settings.train.micro_batch_tokens),
            *_of_the_model(setting, done),
        ),
    )


def _of_the_model(setting: Setting, done: Configuration) -> list[Reasoned]:
    """Say what follows from the base's own layers: what of it lies in fewer bits, and where factors go."""
    told = []
    bits = setting.bits(done)
    if bits != "none":
        reason = described(adapted_outline(setting, done, None), bits)
        told.append(Reasoned(name="model.quantise", value=bits, reason=reason))
    if done.method == "ia3":
        told += ia3.reasoned(outline(setting.base.folder), setting.base, setting.model)
    return told


def _others(base: Base, settings: TrainingPlan, done: Configuration) -> list[Configuration]:
    """Return the ways to train beside the chosen one, in micro-batches of the same size."""
    if base.kind == "config":
        return []
    kinds: list[tuple[str, Quantisation]] = [("full", "none"), ("lora", "none"), ("lora", "nf4"), ("lora", "int8")]
    if is_in_bfloat16(base.folder):
        kinds.insert(2, ("lora", "bfloat16"))
    may = may_be_rounded(settings.model)
    others = [
        replace(done, method=method, quantise=quantise, checkpointing=checkpointing)
        for method, quantise in kinds
        if may or quantise == "none"
        for checkpointing in (False, True)
    ]
    return [other for other in others if other != done]


def epoch(planned: Planned, setting: Setting) -> float | None:
    """Return the seconds of an epoch; None: not timed."""
    pace = paced(planned, setting)
    return None if pace is None else of_epoch(planned, setting, pace)


def paced(planned: Planned, setting: Setting) -> Pace | None:
    """Time the heaviest step of an epoch; None: the base is too large to be tried here, or cannot be."""
    configuration = planned.simulation.configuration
    return measure(setting, configuration, _heaviest(planned, setting))


def of_epoch(planned: Planned, setting: Setting, pace: Pace) -> float:
    """Return the seconds of an epoch: those of its heaviest step, by its share of the tokens."""
    work = _heaviest(planned, setting)
    return pace.seconds(work) * planned.usage.shared / work.computed


def _heaviest(planned: Planned, setting: Setting) -> Arrangement:
    done = planned.simulation.configuration
    return setting.arrange(planned.usage.heaviest, done.micro_batch_tokens, done.method)


def _misplaced(planned: Planned, settings: TrainingPlan) -> Misplaced | None:
    """Look for fixed text behind something variable, where beginnings are shared."""
    done = planned.simulation.configuration
    if stands_in_front(done.method, settings.model):
        return None
    return misplaced(planned.usage.heaviest, done.micro_batch_tokens)


def setting_of(base: Base, settings: TrainingPlan, view: View) -> tuple[Setting, str]:
    """Return what all configurations of a run have in common, and its method resolved."""
    model = outline(base.folder)
    method, _ = choose_method(model, base, settings.model)
    width = model.config.get_text_config().hidden_size
    precision = choices.precision(settings.model, device_here(), width=width, kept={}, measure=rates)
    bfloat16 = precision.value == "bfloat16"
    device = device_here().type
    process = 0 if device == "cuda" else resident()
    setting = Setting(
        base=base, model=settings.model, process=process, optimiser=settings.train.optimiser,
        regularise=settings.train.regularise, device=device, bfloat16=bfloat16, targets=view.targets,
        prefers=view.objective.prefer if view.prefers else None, distils=view.distils,
    )  # fmt: skip
    return setting, method


def _room() -> int:
    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else room()
