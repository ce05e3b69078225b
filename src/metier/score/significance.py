"""Probabilities of seeing what was seen by chance alone, and what many such probabilities are worth together."""

import math
from collections.abc import Sequence
from typing import Protocol

from scipy.special import ndtr, ndtri, stdtr

from metier.score.intervals import score_statistic


class Difference(Protocol):
    """What is known of a difference; see `stats.Paired`, which is one."""

    @property
    def value(self) -> float:
        """The difference itself."""
        ...

    @property
    def error(self) -> float:
        """Its standard error; not-a-number where there is none."""
        ...

    @property
    def units(self) -> int:
        """The number of independent draws behind it."""
        ...

    @property
    def rows(self) -> int:
        """The number of rows behind it."""
        ...

    @property
    def changes(self) -> tuple[int, int] | None:
        """Rows gained and lost, where the metric is a share of single rows; None otherwise."""
        ...

    @property
    def bounded(self) -> bool:
        """Whether no single unit can move it by more than 1 / units."""
        ...


def below(found: Difference, threshold: float) -> float:
    """Return the one-sided p-value of "the difference is below the threshold"; 1 where nothing can be said.

    Tango's score statistic for shares of single rows, Student's t over the jackknife error otherwise. Where no unit
    differs from another there is no error; then it is the chance that none of them showed a difference that large.
    """
    if found.changes is not None:
        if found.rows == 0 or not -1 < threshold < 1:
            return 1.0 if found.rows == 0 or threshold <= -1 else 0.0
        return float(ndtr(score_statistic(*found.changes, found.rows, threshold)))
    if not (math.isfinite(found.value) and math.isfinite(found.error)) or found.units < 2:
        return 1.0
    gap = threshold - found.value
    if found.error <= 1e-12 * max(1.0, abs(found.value)):
        if gap <= 0:
            return 1.0
        return (1 - min(gap, 1.0)) ** found.units if found.bounded else 0.0
    return float(stdtr(found.units - 1, -gap / found.error))


def above(found: Difference, threshold: float) -> float:
    """Return the one-sided p-value of "the difference is above the threshold"; see `below`."""
    return below(_Mirrored(found), -threshold)


def two_sided(found: Difference) -> float:
    """Return the two-sided p-value of "there is a difference"."""
    return min(1.0, 2 * min(below(found, 0.0), above(found, 0.0)))


def equivalence(found: Difference, margin: float) -> float:
    """Return the p-value of "the difference is within ± margin": two one-sided tests (D. J. Schuirmann 1987)."""
    return max(above(found, -margin), below(found, margin))


def not_worse(found: Difference, margin: float, *, higher_is_better: bool) -> float:
    """Return the p-value of "the second model is worse by less than the margin": non-inferiority."""
    return above(found, -margin) if higher_is_better else below(found, margin)


def smallest_detectable(found: Difference, *, confidence: float, power: float = 0.8) -> float | None:
    """Return the least true difference that as many rows like these would show with that power; None: unknown."""
    if not math.isfinite(found.error) or found.error <= 0:
        return None
    return (float(ndtri(0.5 + confidence / 2)) + float(ndtri(power))) * found.error


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that the chance of even one false alarm among them keeps its level (S. Holm 1979)."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    adjusted, highest = [0.0] * len(values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = highest
    return adjusted


def benjamini_hochberg(values: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that they bound the share of false alarms among all alarms.

    Y. Benjamini and Y. Hochberg 1995; holds for independent and for positively dependent tests.
    """
    order = sorted(range(len(values)), key=lambda place: values[place], reverse=True)
    adjusted, lowest = [0.0] * len(values), 1.0
    for before, place in enumerate(order):
        lowest = min(lowest, values[place] * len(values) / (len(values) - before))
        adjusted[place] = lowest
    return adjusted


class _Mirrored:
    """A difference seen from the other side: first minus second."""

    def __init__(self, found: Difference) -> None:
        self.value = -found.value
        self.error = found.error
        self.units = found.units
        self.rows = found.rows
        self.changes = None if found.changes is None else (found.changes[1], found.changes[0])
        self.bounded = found.bounded
