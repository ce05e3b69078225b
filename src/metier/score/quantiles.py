"""Percentiles with their interval, whatever the distribution: latencies have long tails."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import binom

from metier.score.stats import Estimate


def quantile(values: Sequence[float], share: float, confidence: float) -> Estimate:
    """Return the value below which `share` of the values lie, with an interval between two of the values themselves.

    The number of values below the true quantile is binomial, so order statistics bound it without any assumption about
    the distribution (Conover, Practical Nonparametric Statistics, 3rd edition, section 3.2). Few values bound a high
    quantile on one side only: that end is infinite.

    Args:
        values: at least one, in any unit.
        share: in (0, 1), for instance 0.95.
        confidence: for instance 0.95.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    count, tail = len(ordered), (1 - confidence) / 2
    low = int(binom.ppf(tail, count, share))  # P(fewer than `low` values below) < tail
    high = int(binom.ppf(1 - tail, count, share)) + 1
    return Estimate(
        value=float(ordered[max(0, math.ceil(share * count) - 1)]),
        low=float(ordered[low - 1]) if low >= 1 else -math.inf,
        high=float(ordered[high - 1]) if high <= count else math.inf,
    )
