"""`train.learning_rate: auto`: a few rates on the first rows of a run, each from the same start; the best one trains.

The search is a short version of a sweep and costs at most a tenth of the run. What it found stands in choices.json;
a run that goes on reads it there.
"""

import json
import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from metier.core.progress import Progress
from metier.core.types import Reasoned
from metier.train.batches import Beginning
from metier.train.fit import Fit
from metier.train.sweep import halving
from metier.train.sweep.trial import Reached, Start, advance

_NAME = "train.learning_rate"
_FOLDER = "rates"
_SHARE = 0.1
"""Of the run's cost."""

_FACTOR = 3.0
"""Between neighbouring rates."""

_REDUCTION = 3
_HELD_OUT = 64
_FORWARD = 1 / 3
"""Cost of reading a row, as a share of training on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How a search goes: rates as powers of three around the rule's, rungs, checks in all, steps to the last rung."""

    powers: tuple[int, ...]
    rungs: int
    checks: int
    steps: int


_WIDE = Search(powers=(0, -1, 1, -2, 2), rungs=2, checks=6, steps=30)
_NARROW = Search(powers=(0, -1, 1), rungs=1, checks=2, steps=6)
"""Their `steps` are the fewest that tell rates apart; with less room the search is narrower, or left out."""


def decide(fit: Fit, chosen: list[Reasoned], progress: Progress) -> tuple[Fit, list[Reasoned]]:
    """Return the run with its rate, and what was chosen with that rate and its reason in it.

    Args:
        fit: the run with the rate of the fixed rule.
        chosen: what the run derived, the rule's rate among it.
        progress: told of the search.
    """
    rule = next(choice for choice in chosen if choice.name == _NAME)
    choice = _recorded(fit.run_folder) or _search(fit, rule, progress)
    return replace(fit, peak_rate=choice.value), [choice if entry.name == _NAME else entry for entry in chosen]


def forget(run: Path) -> None:
    """Delete what a search left beside its result."""
    shutil.rmtree(run / _FOLDER, ignore_errors=True)


def room(fit: Fit) -> Search | None:
    """Return the widest search that a tenth of the run pays for, or None."""
    rows_per_step = max(1, len(fit.order.step(0)))
    check = min(_HELD_OUT, len(fit.validation)) * _FORWARD / rows_per_step
    for search in (_WIDE, _NARROW):
        first = _REDUCTION ** (1 - search.rungs)
        runs = len(search.powers) * first + _finalists(search) * (1 - first)  # in runs from start to last rung
        steps = int((_SHARE * fit.order.steps / runs) - check * search.checks)
        if steps >= search.steps:
            return replace(search, steps=steps - steps % _REDUCTION)
    return None


def _search(fit: Fit, rule: Reasoned, progress: Progress) -> Reasoned:
    if not fit.validation:
        return replace(rule, reason=f"{rule.reason}; no validation rows to compare other rates on")
    search = room(fit)
    if search is None:
        reason = f"{rule.reason}; {fit.order.steps} steps are too few to try others in a tenth of them"
        return replace(rule, reason=reason)
    rates = {number: float(f"{rule.value * _FACTOR**power:.3g}") for number, power in enumerate(search.powers)}
    reached, finalists = _measure(_short(fit, search), rates, search, progress)
    if not finalists:
        return replace(rule, reason=f"{rule.reason}; every rate tried around it failed")
    told = ", ".join(_told(rates[number], reached[number]) for number in sorted(rates, key=lambda n: rates[n]))
    return Reasoned(name=_NAME, value=rates[finalists[0]], reason=f"lowest validation loss of those tried ({told})")


def _told(rate: float, result: Reached) -> str:
    loss = "failed" if result.failed else f"{smoothed(result):.4f}"
    return f"{rate:g}: {loss} after {result.steps} steps"


def smoothed(result: Reached) -> float:
    """Return the mean of the last two validation losses: one alone depends on the rows of the last steps."""
    if result.failed or not result.curve:
        return math.inf
    last = [loss for _, loss in result.curve[-2:]]
    return math.fsum(last) / len(last)


def _measure(
    fit: Fit, rates: dict[int, float], search: Search, progress: Progress
) -> tuple[dict[int, Reached], list[int]]:
    """Train every rate to the first rung and the better ones to the last, always from the same start.

    Returns:
        What each reached, and the numbers of those that reached the last rung without failing, best first.
    """
    start = Start(fit.model)
    reached: dict[int, Reached] = {}
    going = list(rates)
    with progress.task("learning rate", len(going) + _finalists(search) * (search.rungs - 1)) as bar:
        for rung, steps in enumerate(halving.rung_steps(search.steps, search.rungs, _REDUCTION)):
            for number in going:
                trial = replace(fit, run_folder=fit.run_folder / f"{number:02d}", peak_rate=rates[number])
                reached[number] = advance(trial, start, rung, steps)
                bar.advance(1, {"rate": rates[number], "validation": reached[number].loss})
            going = halving.survivors({number: smoothed(reached[number]) for number in going}, _REDUCTION)
    start.restore()
    return reached, going


def _finalists(search: Search) -> int:
    return math.ceil(len(search.powers) / _REDUCTION)


def _short(fit: Fit, search: Search) -> Fit:
    """Return the beginning of a run as a run of its own, measured on a few held-out rows."""
    count = min(_HELD_OUT, len(fit.validation))
    places = [place * len(fit.validation) // count for place in range(count)]
    kept = fit.frozen
    if kept is not None:
        trained = len(fit.rendered)
        offsets = np.concatenate([kept.offsets[:trained], kept.offsets[trained:][places]])
        kept = replace(kept, offsets=offsets)
    settings = fit.settings.model_copy(
        update={"checks": search.checks, "patience": None, "checkpoint_every": search.steps}
    )
    return replace(
        fit,
        run_folder=fit.run_folder / _FOLDER,
        order=Beginning(fit.order, search.steps),
        validation=[fit.validation[place] for place in places],
        frozen=kept,
        settings=settings,
    )


def _recorded(run: Path) -> Reasoned | None:
    """Return the rate that this run found when it began, or None."""
    path = run / "choices.json"
    if not path.is_file():
        return None
    choices = json.loads(path.read_text(encoding="utf-8"))
    found = next((choice for choice in choices if choice["name"] == _NAME), None)
    return Reasoned(**found) if found else None
