"""How far short runs insist on another learning rate than the rule's; imports no torch.

Rates are powers of three around the rule's: 0 is the rule, 1 three times it. n = held-out sequences.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from metier.core import seeds

FACTOR_OF_DOUBT = 2.0
"""So far short runs may be wrong about the whole one: as much is taken off what they say before the rule is left. This
is the likeliest rate where their errors are normal and those of the rule are Laplace-distributed."""

FACTOR = 3.0
"""Between neighbouring rates."""

_RESAMPLES = 500
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tried:
    """What a rate came to: undivided losses in nats of the held-out sequences, float64 [n], divided by `weight`.

    `failed` says why there are none ("": there are).
    """

    rows: np.ndarray
    weight: float
    failed: str = ""

    @property
    def loss(self) -> float:
        """Nats per unit of label weight; infinite when it failed."""
        return math.inf if self.failed else float(self.rows.sum() / self.weight)

    def told(self) -> str:
        """Say it in a word."""
        return "failed" if self.failed else f"{self.loss:.4f}"


def insisted(tried: Mapping[int, Tried]) -> float:
    """Return the power to train with: 0, the rule, unless the losses say otherwise beyond noise and beyond doubt.

    Args:
        tried: by power, one of them at least did not fail.
    """
    low, high = interval(tried)
    nearest = min(max(0.0, low), high)  # of what the rows leave open, that which is nearest to the rule
    doubt = math.log(FACTOR_OF_DOUBT, FACTOR)
    return math.copysign(max(0.0, abs(nearest) - doubt), nearest)


def best(tried: Mapping[int, Tried]) -> float:
    """Return the power of the lowest loss, between those tried by a parabola through the lowest and its neighbours."""
    return _lowest({power: trial.loss for power, trial in tried.items()})


def interval(tried: Mapping[int, Tried]) -> tuple[float, float]:
    """Return the 95 % interval of the best power over the choice of held-out rows, the same for all rates."""
    standing = {power: trial for power, trial in tried.items() if not trial.failed}
    count = len(next(iter(standing.values())).rows)
    random = seeds.generator("rates", count)
    found = []
    for _ in range(_RESAMPLES):
        taken = np.bincount(random.integers(0, count, count), minlength=count)
        sums = {power: float(trial.rows @ taken / trial.weight) for power, trial in standing.items()}
        found.append(_lowest(sums | {power: math.inf for power in tried if power not in standing}))
    low, high = np.quantile(found, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return float(low), float(high)


def _lowest(losses: Mapping[int, float]) -> float:
    lowest = min(losses, key=lambda power: (losses[power], abs(power)))
    here, below, above = (losses.get(lowest + side, math.inf) for side in (0, -1, 1))
    bend = below - 2 * here + above
    if not math.isfinite(bend) or bend <= 0:
        return float(lowest)
    return lowest + (below - above) / (2 * bend)
