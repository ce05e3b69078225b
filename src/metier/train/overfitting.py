"""Overfitting, found in a run's log and explained: validation loss rises while training loss falls; no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.train import log

_CHECKS = 3
"""Checks in a row above the best one before anything is said; `train.patience` where that is less."""

_CLEAR = 0.02
"""Share by which the validation loss must have risen and the training loss fallen: less is the noise of a plateau."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overfitting:
    """What was found: the best `step` and `epoch`, `checks` since then, and losses then and now."""

    step: int
    epoch: float
    checks: int
    validation: tuple[float, float]
    training: tuple[float, float]
    is_new: bool

    @property
    def text(self) -> str:
        """Say it in one sentence."""
        checks = f"{self.checks} check{'s' * (self.checks != 1)}"
        validation, training = (f"{then:.3g} to {now:.3g}" for then, now in (self.validation, self.training))
        return (
            f"overfitting: validation loss has risen for {checks} ({validation}) while training loss fell "
            f"({training}): epoch {self.epoch:.3g} was best"
        )


def explained(path: Path, patience: int | None, *, until: int | None = None) -> Overfitting | None:
    """Look for overfitting in a run's metrics.jsonl up to a step; None: there is none, or it is not clear.

    Args:
        path: the log.
        patience: `train.patience`: a run that stops after two worse checks is told after two.
        until: the last step that counts; None: all.
    """
    entries = log.read(path)
    kept = {(entry["step"], "validation_loss" in entry): entry for entry in entries if "found" not in entry}
    ordered = sorted(kept.values(), key=lambda entry: entry["step"])
    ordered = [entry for entry in ordered if until is None or entry["step"] <= until]
    checks = [entry for entry in ordered if "validation_loss" in entry]
    return _found([entry for entry in ordered if "loss" in entry], checks, min(_CHECKS, patience or _CHECKS))


def _found(steps: Sequence[dict[str, Any]], checks: Sequence[dict[str, Any]], least: int) -> Overfitting | None:
    losses = [check["validation_loss"] for check in checks]
    if len(losses) <= least:
        return None
    best = losses.index(min(losses))
    since = len(losses) - 1 - best
    training = (_mean(steps, checks, best), _mean(steps, checks, len(checks) - 1))
    rose = losses[-1] >= losses[best] * (1 + _CLEAR)
    fell = training[1] <= training[0] * (1 - _CLEAR)
    if since < least or not rose or not fell:
        return None
    before = _found(steps, checks[:-1], least)
    return Overfitting(
        step=checks[best]["step"],
        epoch=checks[best]["epoch"],
        checks=since,
        validation=(losses[best], losses[-1]),
        training=training,
        is_new=before is None,
    )


def _mean(steps: Sequence[dict[str, Any]], checks: Sequence[dict[str, Any]], place: int) -> float:
    """Return the mean training loss between the check before and this one."""
    first = checks[place - 1]["step"] if place else 0
    found = [step["loss"] for step in steps if first < step["step"] <= checks[place]["step"]]
    return math.fsum(found) / len(found) if found else math.nan
