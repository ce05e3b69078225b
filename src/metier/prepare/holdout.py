"""Which units are held out: the latest ones, or those whose places on the line are lowest."""

import math
from collections.abc import Mapping

import numpy as np

from metier.core.errors import DataError
from metier.core.types import Reasoned
from metier.prepare.division import TEST, TRAIN, VALIDATION, Division
from metier.prepare.units import Units

_MANY_HELD_OUT = 100


def latest(units: Units, shares: Mapping[int, float], division: Division) -> np.ndarray:
    """Hold out the units whose last row is latest: training never sees what comes after a held-out row's unit.

    Returns:
        int8 [units].
    """
    known = np.isfinite(units.latest)
    times = np.unique(units.latest[known])
    needed = 1 + sum(share > 0 for share in shares.values())
    if len(times) < needed:
        raise DataError(
            f"prepare.split.by: time, but the rows stand at {len(times)} different time(s)",
            f"at least {needed}, one for each split",
            "name the column as prepare.columns.time, or set prepare.split.by: random",
        )
    taken = np.zeros(len(units), np.int8)
    order = np.argsort(units.latest[known], kind="stable")
    rows = np.cumsum(units.sizes[known][order][::-1])[::-1]  # rows from each unit on
    ordered, wanted, edge = units.latest[known][order], 0.0, len(times)
    for position, split in enumerate(split for split in (TEST, VALIDATION) if shares[split]):
        wanted += shares[split] * rows[0]
        start = ordered[max(int(np.searchsorted(-rows, -wanted, side="right")) - 1, 0)]
        lowest = needed - 1 - position  # times that must be left before this one
        edge = min(max(int(np.searchsorted(times, start)), lowest), edge - 1)
        taken[known & (taken == TRAIN) & (units.latest >= times[edge])] = split
    first = times[edge]
    reason = f"prepare.split.by: time; nothing that is trained on is from {_date(first)} or later; labels take no part"
    division.choices.append(Reasoned(name="trained on the past", value=f"before {_date(first)}", reason=reason))
    if not known.all():
        rows_without = int(units.sizes[~known].sum())
        division.warnings.append(f"{rows_without:,} row(s) without a time, or beside one without, stay in training")
    return taken


def _date(seconds: float) -> str:
    return str(np.datetime64(int(seconds), "s")).replace("T", " ")


def drawn_lowest(units: Units, shares: Mapping[int, float], division: Division, *, stratify: bool) -> np.ndarray:
    """Hold out the units with the lowest places, label by label; int8 [units]."""
    total = units.sizes.sum()
    widest = max(2.0, 2 * min(share for share in shares.values() if share) * total)
    small = units.sizes <= widest
    strata = units.labels if stratify else np.broadcast_to(-1, len(units))
    taken = np.zeros(len(units), np.int8)
    for label in np.unique(strata[small]):
        members = np.flatnonzero(small & (strata == label))
        members = members[np.argsort(units.at[members], kind="stable")]
        taken[members] = _of_stratum(units.at[members], shares)
    if any(share and not (taken == split).any() for split, share in shares.items()):
        _fill_empty(np.lexsort((units.at, ~small)), shares, taken)
    kept = int(np.count_nonzero(~small & (taken == TRAIN)))
    if kept:
        reason = f"each has more than {widest:,.0f} rows, too many for a held-out split"
        division.choices.append(Reasoned(name="groups kept in training", value=kept, reason=reason))
    return taken


def _of_stratum(at: np.ndarray, shares: Mapping[int, float]) -> np.ndarray:
    """Give the lowest places of one label to the test, the next to the validation; one unit stays in training."""
    taken, edge, start = np.zeros(len(at), np.int8), 0.0, 0
    for split in (TEST, VALIDATION):
        share = shares[split]
        drawn = int(np.count_nonzero((edge <= at) & (at < edge + share)))
        count = min(_near(drawn, share * len(at)), len(at) - 1 - start) if share else 0
        taken[start : start + count] = split
        edge, start = edge + share, start + count
    return taken


def _near(drawn: int, wanted: float) -> int:
    """Return `drawn`, moved near to what the share asks for: within one standard deviation and one row at least.

    A large label may be three off: its share is near enough then, and rows stay where they are when others come.
    """
    slack = max(1.0, math.sqrt(wanted) * (3 if wanted >= _MANY_HELD_OUT else 1))
    lowest = max(math.ceil(wanted - slack), 1 if wanted >= 0.5 else 0)
    return min(max(drawn, lowest), math.floor(wanted + slack))


def _fill_empty(order: np.ndarray, shares: Mapping[int, float], taken: np.ndarray) -> None:
    """Give a split that drew nothing the lowest unit that is left; training keeps at least one."""
    for split in (TEST, VALIDATION):
        if shares[split] and not (taken == split).any():
            free = order[taken[order] == TRAIN]
            other = order[(taken[order] != TRAIN) & (taken[order] != split)]
            taken[free[0] if len(free) > 1 else other[0]] = split
