"""What the manifest of a snapshot says about its rows: counts that add up, labels, slices, lengths."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from metier.core.types import Reasoned
from metier.prepare.balance.training import Training
from metier.prepare.decisions import Decisions
from metier.prepare.division import SPLITS, TRAIN, Division
from metier.prepare.places import Places

_MOST_NAMES = 1000
_EDGES = (0, 50, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600)
"""Characters at which the bars of the histogram of lengths begin."""


def account(
    rows_in: int,
    places: Places,
    division: Division,
    training: Training,
    *,
    decisions: Decisions,
    choices: Sequence[Reasoned],
) -> dict[str, Any]:
    """Sum up for the manifest, and assert that no row was lost.

    Args:
        rows_in: rows read.
        places: those that came into the spool.
        division: their splits.
        training: the lines of the training rows.
        decisions: everything that was decided.
        choices: what was chosen by the program, with reasons.
    """
    numbers = np.concatenate([training.numbers, np.flatnonzero(division.splits > TRAIN)])  # the lines of all splits
    splits = division.splits[numbers]
    counts = {split: int((splits == number).sum()) for number, split in enumerate(SPLITS)}
    dropped = decisions.dropped()
    if rows_in + training.repeated != sum(counts.values()) + sum(dropped.values()):
        told = f"{rows_in} rows in, {training.repeated} repeated, {sum(counts.values())} out"
        raise AssertionError(f"{told}, {sum(dropped.values())} dropped")
    labels = _by_split(places.labels[numbers], places.label_names, splits)
    warnings = [*division.warnings, *training.warnings]
    if len(labels) > max(100, sum(counts.values()) // 5):
        total = sum(counts.values())
        warnings.append(f"{len(labels):,} different labels in {total:,} rows: is that column a label?")
    return {
        "rows_in": rows_in,
        "counts": counts,
        "repeated": training.repeated,
        "dropped": dropped,
        "decisions": decisions.facts(),
        "labels": dict(list(labels.items())[:_MOST_NAMES]),
        "slices": dict(list(_by_split(places.slices[numbers], places.slice_names, splits).items())[:_MOST_NAMES]),
        "lengths": {
            split: _lengths(places.characters[numbers[splits == number]]) for number, split in enumerate(SPLITS)
        },
        "synthetic": int(places.synthetic[numbers].sum()),
        "balance": training.facts,
        "curriculum": training.curriculum,
        "choices": [asdict(choice) for choice in choices],
        "warnings": warnings,
    }


def _by_split(codes: np.ndarray, names: Sequence[str], splits: np.ndarray) -> dict[str, dict[str, int]]:
    """Count rows by name and split, the most frequent name first."""
    counts = np.zeros((len(names), len(SPLITS)), dtype=np.int64)
    known = (codes >= 0) & (splits >= 0)
    np.add.at(counts, (codes[known], splits[known]), 1)
    totals = Counter({name: int(total) for name, total in zip(names, counts.sum(axis=1), strict=True) if total})
    numbers = {name: number for number, name in enumerate(names)}
    order = sorted(totals, key=lambda name: (-totals[name], name))
    return {name: dict(zip(SPLITS, counts[numbers[name]].tolist(), strict=True)) for name in order}


def _lengths(characters: np.ndarray) -> Mapping[str, Any]:
    """Return quartiles, the longest, and rows by length, in characters."""
    if not len(characters):
        return {}
    shares = np.percentile(characters, (50, 90, 99)).round().astype(int).tolist()
    bars, _ = np.histogram(characters, bins=(*_EDGES, np.iinfo(np.int32).max))
    return {
        "median": shares[0], "p90": shares[1], "p99": shares[2], "longest": int(characters.max()),
        "histogram": dict(zip(map(str, _EDGES), bars.tolist(), strict=True)),
    }  # fmt: skip
