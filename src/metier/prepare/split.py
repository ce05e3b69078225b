"""Decides which rows are trained on, which are measured while training, and which stay sealed for the test.

Every unit (a group, rows that ask the same, near-duplicates, or one row) has a place on the line from 0 to 1 that is a
hash of its name and the seed. The lowest places are the test, the next ones the validation. So a row does not move when
others are added, except at the edges of a label that would otherwise have far too many or too few held-out rows. By
time it is the latest units that are held out instead.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from metier.core import seeds
from metier.core.errors import DataError
from metier.core.types import Dropped, Reasoned
from metier.prepare.candidate import Role
from metier.prepare.places import ROLES, Places
from metier.prepare.settings import PrepareSettings
from metier.prepare.units import Units, units_of

SPLITS: tuple[Role, ...] = ROLES
RULE = "split"
"""What drops rows here, in the decision file."""

_MANY_HELD_OUT = 100

TRAIN, VALIDATION, TEST = range(3)
NONE = -1


class Gone(NamedTuple):
    """Rows that were dropped for one reason: their numbers, what to say, and the row that each is like (-1: none)."""

    numbers: np.ndarray
    reason: str
    detail: str
    others: np.ndarray | None = None
    rule: str = RULE


@dataclass(slots=True, eq=False)
class Division:
    """The outcome: `splits` int8 [rows], a place in `SPLITS` or -1 (dropped); the drops, and what there is to say."""

    splits: np.ndarray
    gone: list[Gone] = field(default_factory=list)
    choices: list[Reasoned] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def drop(self, gone: Gone) -> None:
        """Take rows out of their splits."""
        if len(gone.numbers):
            self.splits[gone.numbers] = NONE
            self.gone.append(gone)

    def dropped(self, places: Places) -> Iterator[Dropped]:
        """Yield what was dropped, row by row."""
        for entry in self.gone:
            others = entry.others if entry.others is not None else np.full(len(entry.numbers), -1)
            for number, other in zip(entry.numbers.tolist(), others.tolist(), strict=True):
                place = places[number]
                detail = entry.detail + (f" {places.source(other)}" if other >= 0 else "")
                yield Dropped(
                    source=place.source, reason=entry.reason, detail=detail, label=place.label, rule=entry.rule,
                    row_id=place.id,
                )  # fmt: skip


def divide(
    places: Places,
    settings: PrepareSettings,
    *,
    alive: np.ndarray | None = None,
    clusters: np.ndarray | None = None,
    files: Iterable[Role],
    seed: int,
) -> Division:
    """Give every row its split.

    Args:
        places: the rows of the spool, in any order.
        settings: shares, stratification, grouping and `max_rows`.
        alive: bool [rows], False for rows that have been dropped. None: none has.
        clusters: int [rows], the first near-duplicate of each row; they stay together. None: none are known.
        files: the roles for which the user named files; these are taken as they are.
        seed: of the places on the line.

    Raises:
        DataError: there are too few rows, or too few groups, to fill every split; or no times to split by.
    """
    named = set(files)
    division = Division(splits=np.array(places.roles, np.int8))
    if alive is not None:
        division.splits[~alive] = NONE
    _part_groups(places, division)
    _limit(places, settings.max_rows, division, seed)
    shares = {
        TEST: 0.0 if "test" in named else settings.test_share,
        VALIDATION: 0.0 if "validation" in named else settings.validation_share,
    }
    if not (division.splits == TRAIN).any():
        raise DataError("no training rows are left", "some that are not copies of held-out rows or groups")
    free = np.flatnonzero((division.splits == TRAIN) & ~places.synthetic)
    if any(shares.values()):
        most = max(2.0, min(share for share in shares.values() if share) * len(free))
        grouping = settings.split.group_inputs
        units = units_of(places, free, clusters=clusters, group_inputs=grouping, most=most, seed=seed)
        if clusters is not None and len(units) < 1 + sum(share > 0 for share in shares.values()):
            division.warnings.append(f"all rows are near-duplicates of {len(units)}; they are split all the same")
            units = units_of(places, free, clusters=None, group_inputs=grouping, most=most, seed=seed)
        _require_enough(units, shares, len(free), grouped=bool(places.groups[free].any()))
        taken = _latest(units, shares, division) if settings.split.by == "time" else None
        if taken is None:
            taken = _drawn(units, shares, division, stratify=settings.split.stratify)
        if units.alone:
            _tell_of_common_questions(units.alone, most, division)
        division.splits[free] = taken[units.of]
    _part_synthetic(places, clusters, division)
    _warn_of_labels(places, division)
    if named & {"validation", "test"}:
        _warn_of_shared_questions(places, division)
    return division


def _part_groups(places: Places, division: Division) -> None:
    """Drop training rows whose group stands in a held-out file."""
    for split in (TEST, VALIDATION):
        held = np.flatnonzero((division.splits == split) & (places.groups != 0))
        known, firsts = np.unique(places.groups[held], return_index=True)
        lost = np.flatnonzero((division.splits == TRAIN) & np.isin(places.groups, known))
        others = held[firsts[np.searchsorted(known, places.groups[lost])]] if len(lost) else lost
        division.drop(Gone(lost, f"its group is in the {SPLITS[split]} file", "the same group as", others))


def _part_synthetic(places: Places, clusters: np.ndarray | None, division: Division) -> None:
    """Drop what a program wrote from held-out files, and from training where it goes with a held-out row."""
    if not places.synthetic.any():
        return
    for split in (TEST, VALIDATION):
        wrong = np.flatnonzero(places.synthetic & (division.splits == split))
        division.drop(Gone(wrong, "a synthetic row in a held-out file", f"the {SPLITS[split]} file"))
    held = division.splits > TRAIN
    related = np.isin(places.asks, places.asks[held])
    related |= (places.groups != 0) & np.isin(places.groups, places.groups[held])
    if clusters is not None:
        related |= np.isin(clusters, clusters[held])
    lost = np.flatnonzero(places.synthetic & (division.splits == TRAIN) & related)
    division.drop(Gone(lost, "a synthetic row made from a held-out one", "the same group or question"))


def _limit(places: Places, most: int | None, division: Division, seed: int) -> None:
    """Keep the `most` training rows whose content draws the lowest places."""
    free = np.flatnonzero(division.splits == TRAIN)
    if most is None or len(free) <= most:
        return
    names = [places.id(number) for number in free.tolist()]
    order = np.lexsort((np.array(names), np.array([seeds.unit(seed, "keep", name) for name in names])))
    division.drop(Gone(np.sort(free[order[most:]]), "over prepare.max_rows", f"{most:,} rows are kept"))
    division.choices.append(Reasoned(name="rows kept", value=most, reason=f"prepare.max_rows, of {len(free):,}"))


def _require_enough(units: Units, shares: Mapping[int, float], rows: int, *, grouped: bool) -> None:
    needed = 1 + sum(share > 0 for share in shares.values())
    if len(units) >= needed:
        return
    if grouped and rows >= needed:
        raise DataError(
            f"all {rows:,} training rows are in {len(units)} group(s)",
            f"at least {needed} groups, one for each split",
            "name a finer column as prepare.columns.group, or give data.validation and data.test files",
        )
    raise DataError(
        f"{rows:,} different training row(s)",
        f"at least {needed}, one for each split",
        "add rows; or set prepare.validation_share and prepare.test_share to 0",
    )


def _latest(units: Units, shares: Mapping[int, float], division: Division) -> np.ndarray:
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


def _drawn(units: Units, shares: Mapping[int, float], division: Division, *, stratify: bool) -> np.ndarray:
    """Hold out the units with the lowest places, label by label; int8 [units]."""
    total = units.sizes.sum()
    widest = max(2.0, 2 * min(share for share in shares.values() if share) * total)
    small = units.sizes <= widest
    strata = units.labels if stratify else np.full(len(units), -1)
    taken = np.zeros(len(units), np.int8)
    for label in np.unique(strata[small]):
        members = np.flatnonzero(small & (strata == label))
        members = members[np.argsort(units.at[members], kind="stable")]
        taken[members] = _of_stratum(units.at[members], shares)
    order = np.lexsort((units.at, ~small))
    _fill_empty(order, shares, taken)
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


def _tell_of_common_questions(alone: int, most: float, division: Division) -> None:
    reason = f"what they ask is asked by more rows than a held-out split takes ({most:,.0f}); only answers differ"
    division.choices.append(Reasoned(name="rows split one by one", value=alone, reason=reason))


def _warn_of_labels(places: Places, division: Division) -> None:
    """Note what will weaken the result although it is allowed."""
    known = (places.labels >= 0) & (division.splits != NONE)
    counts = np.zeros((len(places.label_names), len(SPLITS)), np.int64)
    np.add.at(counts, (places.labels[known], division.splits[known]), 1)
    once = counts.sum(1) == 1
    unlearnt = (counts.sum(1) > 1) & (counts[:, TRAIN] == 0)
    for chosen, text in (
        (once, "label(s) seen once, so they cannot be learnt and tested"),
        (unlearnt, "label(s) stand only in held-out rows"),
    ):
        names = sorted(places.label_names[number] for number in np.flatnonzero(chosen))
        if names:
            shown = ", ".join(map(repr, names[:5])) + (" …" if len(names) > 5 else "")
            division.warnings.append(f"{len(names)} {text}: {shown}")


def _warn_of_shared_questions(places: Places, division: Division) -> None:
    """Note training rows that ask what a held-out row asks, unless that is what most rows ask."""
    held = places.asks[division.splits > TRAIN]
    trained = np.flatnonzero(division.splits == TRAIN)
    shared = trained[np.isin(places.asks[trained], held)]
    if len(shared) and len(shared) < 0.5 * len(trained):
        division.warnings.append(
            f"{len(shared):,} training row(s) ask what a held-out row asks, with another answer "
            f"(first: {places.source(int(shared[0]))})"
        )
