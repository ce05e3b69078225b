"""What a number of rows will be able to show, before anything is measured."""

import math
from statistics import NormalDist

CHANGING = 0.2
"""Share of the rows on which a tuned model and its base are taken to differ between right and wrong."""


def rows_for(difference: float, *, changing: float = CHANGING, confidence: float = 0.95, power: float = 0.8) -> int:
    """Return how many rows show a difference between two models that both answer all of them.

    R. J. Connor 1987, "Sample size for testing differences in proportions for the paired-sample design": n = (z₁√ψ +
    z₂√(ψ − δ²))² / δ², z₁ and z₂ being the quantiles of confidence and power.

    Args:
        difference: δ in (0, 1], of the shares that the two have right.
        changing: ψ, the share of rows that only one of them has right; at least δ is taken.
        confidence: that of a two-sided test.
        power: the chance that the test finds it.
    """
    normal, changed = NormalDist(), max(changing, difference)
    first = normal.inv_cdf(0.5 + confidence / 2) * math.sqrt(changed)
    second = normal.inv_cdf(power) * math.sqrt(max(changed - difference**2, 0.0))
    return math.ceil(((first + second) / difference) ** 2)


def difference_shown_by(rows: int) -> float | None:
    """Return the least difference, in hundredths, that so many rows show (see `rows_for`); None: not even 1."""
    shown = (hundredths / 100 for hundredths in range(1, 101))
    return next((difference for difference in shown if rows_for(difference) <= rows), None)
