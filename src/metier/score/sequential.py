"""Intervals that hold at every moment, so that one may look at them after each row and stop when they say enough."""

import math
from collections.abc import Callable

from metier.score.intervals import Bounds

_HALVINGS = 60


def share(right: int, total: int, confidence: float) -> Bounds:
    """Return bounds of a share that hold for all sample sizes at once with the confidence.

    The bounds are the shares p whose betting wealth B(r + 1, n − r + 1) / (p^r (1 − p)^(n − r)) is below 1 / (1 −
    confidence): by Ville's inequality it passes that for the true p, ever, with no more than 1 − confidence
    (H. Robbins 1970; S. Howard et al. 2021, the beta-binomial mixture with a uniform prior).

    Args:
        right: how often it happened.
        total: out of how many; 0 gives the whole of [0, 1].
        confidence: for instance 0.95.
    """
    if total == 0:
        return 0.0, 1.0
    prior = math.lgamma(right + 1) + math.lgamma(total - right + 1) - math.lgamma(total + 2)
    limit = prior + math.log(1 - confidence)  # the log-likelihood of a share that is just believed

    def likelihood(p: float) -> float:
        found = right * math.log(p) if right else 0.0
        return found + (total - right) * math.log1p(-p) if right < total else found

    best = right / total
    low = _edge(lambda p: likelihood(p) > limit, 0.0, best) if right else 0.0
    high = _edge(lambda p: likelihood(p) > limit, 1.0, best) if right < total else 1.0
    return low, high


def _edge(believed: Callable[[float], bool], outside: float, inside: float) -> float:
    """Return the end of what is believed between a point outside and one inside, on the side of the outside."""
    for _ in range(_HALVINGS):
        middle = (outside + inside) / 2
        if 0 < middle < 1 and believed(middle):
            inside = middle
        else:
            outside = middle
    return outside


def difference(first: tuple[int, int], second: tuple[int, int], confidence: float) -> Bounds:
    """Return bounds of the second share less the first that hold for all sample sizes at once.

    Each share's own bounds hold with half of the doubt, so both do together; it does not matter how the rows are
    divided between the two, nor that what was seen decides how they are divided from then on.

    Args:
        first: right, total.
        second: right, total.
        confidence: for instance 0.95.
    """
    each = 1 - (1 - confidence) / 2
    low, high = share(*first, each), share(*second, each)
    return high[0] - low[1], high[1] - low[0]
