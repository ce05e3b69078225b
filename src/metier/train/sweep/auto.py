"""`train.learning_rate: auto`: short runs say where the best rate lies, and the rule is left as far as they insist.

A search costs at most a tenth of the run. What it found stands in choices.json; a run that goes on reads it there.
"""

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from metier.core import artefact
from metier.core.errors import LossSpikeError, NonFiniteError
from metier.core.progress import Progress, Silent
from metier.core.types import Reasoned
from metier.train.batches import Beginning
from metier.train.choices import multiplied
from metier.train.fit import Fit
from metier.train.sweep.insist import FACTOR, FACTOR_OF_DOUBT, Tried, best, insisted
from metier.train.sweep.recorded import Recorded
from metier.train.sweep.trial import Start

_NAME = "train.learning_rate"
_FOLDER = "rates"
_SHARE = 0.1
"""Of the run's cost."""

_MOST_TRIALS = 5
_FEWEST_STEPS = 6
"""Fewer say more of the first steps than of the rate."""

_HELD_OUT = 64
_FORWARD = 1 / 3
"""Cost of reading a row, as a share of training on it."""

_FALL = 0.25
"""The best rate falls with the length of a run to this power: a judgement between what was measured here (0.11 to 0.16,
docs/log.md) and what pre-training showed (Bjorck et al. 2024, "Scaling optimal LR across token horizons", arXiv
2409.19913)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search under way: `fit` is a run of `steps` out of the `whole` run's, `rule` the rate of the fixed rule."""

    fit: Fit
    rule: float
    steps: int
    whole: int

    def rate(self, power: float) -> float:
        """Return a rate of the whole run, `power` factors above the rule's, to two digits."""
        return float(f"{self.rule * FACTOR**power:.2g}")

    def short(self, power: int) -> float:
        """Return the rate of a trial that stands for it."""
        return float(f"{self.rule * FACTOR**power * (self.whole / self.steps) ** _FALL:.2g}")


def decide(fit: Fit, chosen: list[Reasoned], progress: Progress) -> tuple[Fit, list[Reasoned]]:
    """Return the run with its rate, and what was chosen with that rate and its reason in it.

    Args:
        fit: the run with the rate of the fixed rule.
        chosen: what the run derived, the rule's rate among it.
        progress: told of the search.
    """
    rule = next(choice for choice in chosen if choice.name == _NAME)
    choice = _recorded(fit.run_folder) or multiplied(_search(fit, rule, progress), fit.settings)
    return replace(fit, peak_rate=choice.value), [choice if entry.name == _NAME else entry for entry in chosen]


def forget(run: Path) -> None:
    """Delete what a search left beside its result."""
    shutil.rmtree(run / _FOLDER, ignore_errors=True)


def room(fit: Fit) -> int | None:
    """Return how many steps each trial may take so that all cost a tenth of the run; None: too few to say anything."""
    rows_per_step = max(1, len(fit.order.step(0)))
    check = min(_HELD_OUT * fit.together, len(fit.validation)) * _FORWARD / rows_per_step
    steps = int(_SHARE * fit.order.steps / _MOST_TRIALS - check)
    return steps if steps >= _FEWEST_STEPS else None


def _search(fit: Fit, rule: Reasoned, progress: Progress) -> Reasoned:
    if not fit.validation:
        return replace(rule, reason=f"{rule.reason}; no validation rows to compare other rates on")
    steps = room(fit)
    if steps is None:
        reason = f"{rule.reason}; {fit.order.steps} steps are too few to try others in a tenth of them"
        return replace(rule, reason=reason)
    search = Search(fit=_short(fit, steps), rule=rule.value, steps=steps, whole=fit.order.steps)
    tried = _climb(search, progress)
    if all(trial.failed for trial in tried.values()):
        return replace(rule, reason=f"{rule.reason}; every rate tried around it failed")
    return _reasoned(search, rule, tried)


def _reasoned(search: Search, rule: Reasoned, tried: dict[int, Tried]) -> Reasoned:
    """Take the rule's rate, or another as far as the trials insist, and say why."""
    power = insisted(tried)
    told = ", ".join(f"{search.short(each):g}: {tried[each].told()}" for each in sorted(tried))
    found = f"{search.steps} steps ({told}) point to {search.rate(best(tried)):g} for all {search.whole:,}"
    if power == 0:
        return replace(rule, reason=f"{rule.reason}; runs of {found}, which is not clearly another")
    reason = f"runs of {found}; taken a factor of {FACTOR_OF_DOUBT:g} nearer to the {rule.value:g} of the rule"
    return Reasoned(name=_NAME, value=search.rate(power), reason=reason)


def _climb(search: Search, progress: Progress) -> dict[int, Tried]:
    """Try the rule's rate and its neighbours, then go on to the side where the loss falls."""
    start = Start(search.fit.model)
    tried: dict[int, Tried] = {}
    power: int | None = 0
    with progress.task("learning rate", _MOST_TRIALS) as bar:
        while power is not None and len(tried) < _MOST_TRIALS:
            tried[power] = _tried(search, start, power)
            bar.advance(1, {"rate": search.short(power), "validation": tried[power].loss})
            power = following(tried)
    start.restore()
    return tried


def following(tried: Mapping[int, Tried]) -> int | None:
    """Return the power to try next: beside the lowest loss, until both its neighbours are known; None: enough is."""
    lowest = min(tried, key=lambda power: (tried[power].loss, abs(power)))
    return next((power for power in (lowest + 1, lowest - 1) if power not in tried), None)


def _tried(search: Search, start: Start, power: int) -> Tried:
    """Train at a rate for a while, or read what that came to before the search was interrupted."""
    trial = replace(search.fit, run_folder=search.fit.run_folder / f"{power:+d}", peak_rate=search.short(power))
    path = trial.run_folder / "tried.json"
    if path.is_file():
        known = artefact.read_json(path)
        return Tried(rows=np.array(known["rows"]), weight=known["weight"], failed=known["failed"])
    shutil.rmtree(trial.run_folder, ignore_errors=True)
    trial.run_folder.mkdir(parents=True)
    start.restore()
    objective, failed = Recorded(trial.objective), ""
    try:
        replace(trial, objective=objective).run(Silent())
    except (NonFiniteError, LossSpikeError) as error:
        failed = error.found
    if not failed and not math.isfinite(math.fsum(objective.rows)):
        failed = "a loss that is no number"
    found = Tried(rows=np.array(objective.rows), weight=objective.divisor, failed=failed)
    shutil.rmtree(trial.run_folder)
    trial.run_folder.mkdir()
    artefact.write_file(path, json.dumps({"rows": objective.rows, "weight": objective.divisor, "failed": failed}))
    return found


def _short(fit: Fit, steps: int) -> Fit:
    """Return the beginning of a run as a run of its own, with the whole schedule, measured on a few held-out rows."""
    rows = len(fit.validation) // fit.together
    count = min(_HELD_OUT, rows)
    places = [
        place * rows // count * fit.together + side for place in range(count) for side in range(fit.together)
    ]  # fmt: skip
    kept = fit.frozen
    if kept is not None:
        trained = len(fit.rendered)
        offsets = np.concatenate([kept.offsets[:trained], kept.offsets[trained:][places]])
        kept = replace(kept, offsets=offsets)
    evenly = fit.settings.check.model_copy(update={"steps": None, "keep_epochs": 0})
    settings = fit.settings.model_copy(
        update={"checks": 1, "check": evenly, "patience": None, "checkpoint_every": None}
    )
    return replace(
        fit,
        run_folder=fit.run_folder / _FOLDER,
        order=Beginning(fit.order, steps),
        validation=[fit.validation[place] for place in places],
        frozen=kept,
        settings=settings,
    )


def _recorded(run: Path) -> Reasoned | None:
    """Return the rate that this run found when it began, or None."""
    path = run / "choices.json"
    if not path.is_file():
        return None
    choices = artefact.read_json(path)
    found = next((choice for choice in choices if choice["name"] == _NAME), None)
    return Reasoned(**found) if found else None
