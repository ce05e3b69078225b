"""The plan of a run as a Report: does it fit, how long will it take, and what else would one get."""

from dataclasses import dataclass

from metier.core.report import Cell, Report, Table, Verdict
from metier.core.types import Reasoned
from metier.report.cells import duration, size
from metier.train.planning.choose import Planned
from metier.train.planning.lint import Misplaced


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run planned: the chosen way with its seconds for an epoch, the alternatives, and what could be better.

    `before`: seconds of what the base computes once, before the first step; None: it computes nothing, or nobody knows.
    """

    chosen: Planned
    seconds: float | None
    alternatives: tuple[tuple[Planned, float | None], ...]
    misplaced: Misplaced | None
    choices: tuple[Reasoned, ...] = ()
    before: float | None = None


def report(plan: Plan, base: str) -> Report:
    """Tell a plan."""
    chosen, epoch = plan.chosen, plan.chosen.usage
    needed = f"{size(chosen.simulation.memory.total)} of {size(chosen.room)}"
    if chosen.fits:
        text = (
            f"Fits: about {needed}; an epoch of {epoch.steps:,} steps {_time(plan.seconds)}, "
            f"with {epoch.speed_up:.1f}× fewer tokens than padded."
        )
        if plan.before is not None:
            text += f" Before the first step the base reads all answers once, for about {duration(plan.before)}."
    else:
        text = f"Does not fit: about {needed}. A way that fits is in the table, if there is one."
    if plan.misplaced is not None:
        text += f" {plan.misplaced.said().capitalize()}."
    tokens = Table(
        title="An epoch in tokens",
        columns=("computed", "tokens", "of padded"),
        rows=tuple(
            (name, count, f"{100 * count / epoch.padded:.0f} %")
            for name, count in (("padded", epoch.padded), ("packed", epoch.packed), ("shared", epoch.shared))
        ),
        note=f"{epoch.labels:,} labels: {100 * epoch.label_share:.0f} % of the tokens of all rows.",
    )
    ways = Table(
        title="Ways to train",
        columns=(
            "way", "micro-batch", "weights", "gradients", "optimiser", "activations",
            "program", "in all", "fits", "epoch",
        ),
        rows=tuple(_row(*way) for way in ((chosen, plan.seconds), *plan.alternatives)),
        note="The first row is what `metier train` would do. Predicted; a time is missing where it could not be tried.",
    )  # fmt: skip
    facts = tuple((choice.name, f"{choice.value} ({choice.reason})") for choice in plan.choices)
    return Report(
        title=f"Plan for {base}",
        verdict=Verdict(text=text, good=chosen.fits),
        facts=facts,
        tables=(tokens, ways),
        command="metier plan",
    )


def _time(seconds: float | None) -> str:
    return (
        "was not timed: the base is too large to be tried here, or cannot be"
        if seconds is None
        else f"takes about {duration(seconds)}"
    )


def _row(planned: Planned, seconds: float | None) -> tuple[Cell, ...]:
    chosen, memory = planned.simulation.configuration, planned.simulation.memory
    return (
        chosen.name, chosen.micro_batch_tokens, size(memory.weights), size(memory.gradients), size(memory.optimiser),
        size(memory.activations + memory.logits), size(memory.process), size(memory.total),
        "yes" if planned.fits else "no", None if seconds is None else duration(seconds),
    )  # fmt: skip
