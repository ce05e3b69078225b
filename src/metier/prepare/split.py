"""Decides which rows are trained on, which are measured while training, and which stay sealed for the test.

Every unit (a group, rows that ask the same, near-duplicates, or one row) has a place on the line from 0 to 1 that is a
hash of its name and the seed. The lowest places are the test, the next ones the validation. So a row does not move when
others are added, except at the edges of a label that would otherwise have far too many or too few held-out rows. By
time it is the latest units that are held out instead.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from metier.core import seeds
from metier.core.errors import DataError
from metier.core.types import Reasoned
from metier.prepare.candidate import Role
from metier.prepare.division import NONE, SPLITS, TEST, TRAIN, VALIDATION, Division, Gone
from metier.prepare.holdout import drawn_lowest, latest
from metier.prepare.places import Places
from metier.prepare.settings import PrepareSettings
from metier.prepare.units import Units, units_of


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
        taken = latest(units, shares, division) if settings.split.by == "time" else None
        if taken is None:
            taken = drawn_lowest(units, shares, division, stratify=settings.split.stratify)
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
        if not len(held):
            continue
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
