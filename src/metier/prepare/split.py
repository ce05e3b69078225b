"""Decides which rows are trained on, which are measured while training, and which stay sealed for the test.

Every unit (a group, rows that ask the same, or one row) has a place on the line from 0 to 1 that is a hash of its name
and the seed. The lowest places are the test, the next ones the validation. So a row does not move when others are
added, except at the edges of a label that would otherwise have far too many or too few held-out rows.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from metier.core import seeds
from metier.core.errors import DataError
from metier.core.types import Dropped, Reasoned
from metier.prepare.candidate import Role
from metier.prepare.places import Place
from metier.prepare.settings import PrepareSettings

SPLITS: tuple[Role, ...] = ("train", "validation", "test")
RULE = "split"
"""What drops rows here, in the decision file."""


@dataclass(slots=True)
class Division:
    """The outcome: a split for every place (None = dropped here), the drops, and what there is to say."""

    splits: list[Role | None]
    dropped: list[Dropped] = field(default_factory=list)
    choices: list[Reasoned] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class _Unit(NamedTuple):
    """Rows that stay together: where they stand on the line, their name, their indices and their label."""

    at: float
    name: str
    rows: list[int]
    label: str | None


def divide(
    places: Sequence[Place],
    settings: PrepareSettings,
    *,
    alive: np.ndarray | None = None,
    files: Iterable[Role],
    seed: int,
) -> Division:
    """Give every row its split.

    Args:
        places: the rows of the spool, in any order.
        alive: bool [rows], False for rows that have been dropped. None: none has.
        settings: shares, stratification, grouping and `max_rows`.
        files: the roles for which the user named files; these are taken as they are.
        seed: of the places on the line.

    Raises:
        DataError: there are too few rows, or too few groups, to fill every split.
    """
    named = set(files)
    division = Division(splits=[place.role for place in places])
    if alive is not None:
        for index in np.flatnonzero(~alive):
            division.splits[index] = None
    _part_groups(places, division)
    _limit(places, settings.max_rows, division, seed)
    shares = {
        "test": 0.0 if "test" in named else settings.test_share,
        "validation": 0.0 if "validation" in named else settings.validation_share,
    }
    rows = [index for index, split in enumerate(division.splits) if split == "train"]
    if not rows:
        raise DataError("no training rows are left", "some that are not copies of held-out rows or groups")
    free = [index for index in rows if not places[index].synthetic]
    if any(shares.values()):
        units = _units(places, free, settings, shares, division, seed)
        _require_enough(units, shares, len(free), grouped=any(places[index].group for index in free))
        _hold_out(units, shares, settings, division)
    _part_synthetic(places, division)
    _warn_of_labels(places, division)
    if named & {"validation", "test"}:
        _warn_of_shared_questions(places, division)
    return division


def _part_groups(places: Sequence[Place], division: Division) -> None:
    """Drop training rows whose group stands in a held-out file."""
    pairs = list(zip(places, division.splits, strict=True))
    held = {place.group: place for place, split in pairs if split not in (None, "train") and place.group is not None}
    for index, (place, split) in enumerate(pairs):
        if split == "train" and place.group in held:
            other = held[place.group]
            _drop(division, index, place, f"its group is in the {other.role} file", f"the same group as {other.source}")


def _part_synthetic(places: Sequence[Place], division: Division) -> None:
    """Drop what a program wrote from held-out files, and from training where it goes with a held-out row."""
    pairs = list(zip(places, division.splits, strict=True))
    held = [place for place, split in pairs if split in ("validation", "test")]
    groups, asked = {place.group for place in held} - {None}, {place.asks for place in held}
    for index, (place, split) in enumerate(pairs):
        if not place.synthetic or split is None:
            continue
        if split != "train":
            _drop(division, index, place, "a synthetic row in a held-out file", f"the {split} file")
        elif place.group in groups or place.asks in asked:
            _drop(division, index, place, "a synthetic row made from a held-out one", "the same group or question")


def _drop(division: Division, index: int, place: Place, reason: str, detail: str) -> None:
    division.splits[index] = None
    division.dropped.append(
        Dropped(source=place.source, reason=reason, detail=detail, label=place.label, rule=RULE, row_id=place.id)
    )


def _limit(places: Sequence[Place], most: int | None, division: Division, seed: int) -> None:
    """Keep the `most` training rows whose content draws the lowest places."""
    free = [index for index, split in enumerate(division.splits) if split == "train"]
    if most is None or len(free) <= most:
        return
    order = sorted(free, key=lambda index: (seeds.unit(seed, "keep", places[index].id), places[index].id))
    for index in sorted(order[most:]):
        _drop(division, index, places[index], "over prepare.max_rows", f"{most:,} rows are kept")
    division.choices.append(Reasoned(name="rows kept", value=most, reason=f"prepare.max_rows, of {len(free):,}"))


def _units(
    places: Sequence[Place],
    free: Sequence[int],
    settings: PrepareSettings,
    shares: Mapping[str, float],
    division: Division,
    seed: int,
) -> list[_Unit]:
    """Join rows of one group, or that ask the same; what almost every row asks joins nothing."""
    most = max(2.0, min(share for share in shares.values() if share) * len(free))
    asked = Counter(places[index].asks for index in free if places[index].group is None)
    joined: dict[str, list[int]] = defaultdict(list)
    parted = 0
    for index in free:
        place = places[index]
        if place.group is not None:
            joined[f"group {place.group}"].append(index)
        elif settings.split.group_inputs and asked[place.asks] <= most:
            joined[f"asks {place.asks}"].append(index)
        else:
            parted += settings.split.group_inputs
            joined[f"row {place.id}"].append(index)
    if parted:
        reason = f"what they ask is asked by more rows than a held-out split takes ({most:,.0f}); only answers differ"
        division.choices.append(Reasoned(name="rows split one by one", value=parted, reason=reason))
    return [_unit(places, name, rows, seed) for name, rows in joined.items()]


def _unit(places: Sequence[Place], name: str, rows: list[int], seed: int) -> _Unit:
    labels = Counter(label for index in rows if (label := places[index].label) is not None)
    label = min(labels, key=lambda known: (-labels[known], known)) if labels else None
    return _Unit(seeds.unit(seed, "split", name), name, rows, label)


def _require_enough(units: Sequence[_Unit], shares: Mapping[str, float], rows: int, *, grouped: bool) -> None:
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


def _hold_out(
    units: Sequence[_Unit], shares: Mapping[str, float], settings: PrepareSettings, division: Division
) -> None:
    total = sum(len(unit.rows) for unit in units)
    widest = max(2.0, 2 * min(share for share in shares.values() if share) * total)
    small = [unit for unit in units if len(unit.rows) <= widest]
    strata: dict[str | None, list[_Unit]] = defaultdict(list)
    for unit in small:
        strata[unit.label if settings.split.stratify else None].append(unit)
    taken: dict[str, Role] = {}
    for members in strata.values():
        _hold_out_of(sorted(members), shares, taken)
    _fill_empty(sorted(units, key=lambda unit: (len(unit.rows) > widest, unit)), shares, taken)
    for unit in units:
        for index in unit.rows:
            division.splits[index] = taken.get(unit.name, "train")
    kept = [unit for unit in units if len(unit.rows) > widest and unit.name not in taken]
    if kept:
        reason = f"each has more than {widest:,.0f} rows, too many for a held-out split"
        division.choices.append(Reasoned(name="groups kept in training", value=len(kept), reason=reason))


def _hold_out_of(members: Sequence[_Unit], shares: Mapping[str, float], taken: dict[str, Role]) -> None:
    """Give the lowest places of one label to the test, the next to the validation; one unit stays in training."""
    edge, start = 0.0, 0
    for split in ("test", "validation"):
        share = shares[split]
        drawn = sum(edge <= unit.at < edge + share for unit in members)
        count = min(_near(drawn, share * len(members)), len(members) - 1 - start) if share else 0
        for unit in members[start : start + count]:
            taken[unit.name] = split
        edge, start = edge + share, start + count


def _near(drawn: int, wanted: float) -> int:
    """Return `drawn`, moved to within one standard deviation (at least one row) of what the share asks for."""
    slack = max(1.0, math.sqrt(wanted))
    lowest = max(math.ceil(wanted - slack), 1 if wanted >= 0.5 else 0)
    return min(max(drawn, lowest), math.floor(wanted + slack))


def _fill_empty(units: Sequence[_Unit], shares: Mapping[str, float], taken: dict[str, Role]) -> None:
    """Give a split that drew nothing the lowest unit that is left; training keeps at least one."""
    for split in ("test", "validation"):
        if shares[split] and split not in taken.values():
            free = [unit for unit in units if unit.name not in taken]
            if len(free) > 1:
                taken[free[0].name] = split
            else:
                taken[next(unit.name for unit in units if taken.get(unit.name) not in (None, split))] = split


def _warn_of_labels(places: Sequence[Place], division: Division) -> None:
    """Note what will weaken the result although it is allowed."""
    labels: dict[str, Counter[Role]] = defaultdict(Counter)
    for place, split in zip(places, division.splits, strict=True):
        if place.label is not None and split is not None:
            labels[place.label][split] += 1
    once = sorted(label for label, counts in labels.items() if counts.total() == 1)
    if once:
        shown = ", ".join(map(repr, once[:5])) + (" …" if len(once) > 5 else "")
        division.warnings.append(f"{len(once)} label(s) seen once, so they cannot be learnt and tested: {shown}")
    unlearnt = sorted(label for label, counts in labels.items() if not counts["train"] and label not in once)
    if unlearnt:
        shown = ", ".join(map(repr, unlearnt[:5])) + (" …" if len(unlearnt) > 5 else "")
        division.warnings.append(f"{len(unlearnt)} label(s) stand only in held-out rows: {shown}")


def _warn_of_shared_questions(places: Sequence[Place], division: Division) -> None:
    """Note training rows that ask what a held-out row asks, unless that is what most rows ask."""
    pairs = list(zip(places, division.splits, strict=True))
    held = {place.asks for place, split in pairs if split in ("validation", "test")}
    shared = [place.source for place, split in pairs if split == "train" and place.asks in held]
    if shared and len(shared) < 0.5 * division.splits.count("train"):
        division.warnings.append(
            f"{len(shared):,} training row(s) ask what a held-out row asks, with another answer (first: {shared[0]})"
        )
