"""Rows that stay together when they are split: of one group, asking the same, or near-duplicates of each other."""

from dataclasses import dataclass

import numpy as np

from metier.core import seeds
from metier.prepare.duplicates.clusters import Clusters
from metier.prepare.duplicates.words import mixed
from metier.prepare.places import Places

_PART = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Units:
    """U units over some rows.

    `of` int32 [rows]: the unit of each row; `at` float64 [U]: where it stands on the line from 0 to 1; `sizes` int64
    [U]; `labels` int64 [U]: the rank of its most frequent label among all label names, -1 for none; `latest` float64
    [U]: the time of its last row, infinite where a row has none. `alone`: rows whose question is asked by too many to
    keep them together.
    """

    of: np.ndarray
    at: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    latest: np.ndarray
    alone: int

    def __len__(self) -> int:
        """Return the number of units U."""
        return len(self.at)


def units_of(
    places: Places, rows: np.ndarray, *, clusters: np.ndarray | None, group_inputs: bool, most: float, seed: int
) -> Units:
    """Put rows together that must not be parted.

    A unit's place on the line is a hash of its group's name, or of what its rows ask; where near-duplicates join
    several of these, that of the row read first. So it stays where it is when rows are added behind.

    Args:
        places: all rows.
        rows: int64, the numbers of those to put together.
        clusters: int [all rows], the near-duplicates of each; None: none are known.
        group_inputs: rows that ask the same stay together, unless more than `most` do.
        most: see there.
        seed: of the places on the line.
    """
    keys, alone = _keys(places, rows, group_inputs=group_inputs, most=most, seed=seed)
    of, names = _numbered(keys)
    del keys
    if clusters is not None:
        of, names = _joined(of, names, clusters[rows])
    places.pages.let_go()
    return Units(
        of=of, at=(names >> np.uint64(11)) / float(1 << 53), sizes=np.bincount(of, minlength=len(names)),
        labels=_labels(places, rows, of, len(names)), latest=_latest(places, rows, of, len(names)), alone=alone,
    )  # fmt: skip


def _keys(places: Places, rows: np.ndarray, *, group_inputs: bool, most: float, seed: int) -> tuple[np.ndarray, int]:
    """Return a hash of what each row goes by, uint64 [rows], and how many rows that ask the same are parted."""
    common = _common(places.asks[rows[places.groups[rows] == 0]], most)
    keys, alone = np.empty(len(rows), np.uint64), 0
    for start in range(0, len(rows), _PART):
        part = rows[start : start + _PART]
        groups, asks = places.groups[part], places.asks[part]
        few = ~np.isin(asks, common)
        ids = np.ascontiguousarray(places.ids[part, :8]).view(np.uint64)[:, 0] + places.copies[part].astype(np.uint64)
        chosen = [_placed(values, name, seed) for name, values in (("group", groups), ("asks", asks), ("row", ids))]
        alone += int(np.count_nonzero((groups == 0) & ~few))
        together = np.where(few & group_inputs, chosen[1], chosen[2])
        keys[start : start + _PART] = np.where(groups != 0, chosen[0], together)
    return keys, alone if group_inputs else 0


def _common(values: np.ndarray, most: float) -> np.ndarray:
    """Return the values that stand more than `most` times, in order."""
    values.sort()
    begins = np.flatnonzero(np.diff(values, prepend=~values[:1]))
    return values[begins[np.diff(np.append(begins, len(values))) > most]]


def _numbered(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of each key, int32 [rows], in the order in which keys first stand, and the keys, uint64."""
    firsts = np.ones(len(keys), bool)
    first_of = np.arange(len(keys), dtype=np.int32)
    parts = 1 + len(keys) // _PART
    for part in range(parts):
        chosen = np.flatnonzero(keys % np.uint64(parts) == part)
        order = chosen[np.argsort(keys[chosen], kind="stable")]
        begins = np.concatenate([[True], keys[order[1:]] != keys[order[:-1]]])[: len(order)]
        first_of[order] = order[np.flatnonzero(begins)[np.cumsum(begins) - 1]]
        firsts[order[~begins]] = False
    numbers = np.cumsum(firsts, dtype=np.int32) - np.int32(1)
    return numbers[first_of], keys[firsts]


def _placed(values: np.ndarray, kind: str, seed: int) -> np.ndarray:
    return mixed(mixed(values) + np.uint64(seeds.key(seed, "split", kind)))


def _joined(of: np.ndarray, names: np.ndarray, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join the units of rows that are near-duplicates; the first of them gives its name."""
    first_of = np.zeros(int(clusters.max(initial=-1)) + 1, np.int32)
    first_of[clusters[::-1]] = np.arange(len(clusters), dtype=np.int32)[::-1]
    first = of[first_of[clusters]]
    apart = np.flatnonzero(first != of)
    if not len(apart):
        return of, names
    joined = Clusters(len(names))
    joined.join(np.stack([first[apart], of[apart]], 1))
    roots = joined.roots()
    kept = roots == np.arange(len(roots), dtype=np.int32)
    renumbered = np.cumsum(kept, dtype=np.int32) - np.int32(1)
    return renumbered[roots[of]], names[kept]


def _latest(places: Places, rows: np.ndarray, of: np.ndarray, count: int) -> np.ndarray:
    """Return the time of the last row of each unit, float64 [units], infinite where a row has none."""
    times = places.times[rows]
    if np.isnan(times).all():
        return np.broadcast_to(np.inf, count)
    latest = np.full(count, -np.inf)
    np.maximum.at(latest, of, np.nan_to_num(times, nan=np.inf))
    return latest


def _labels(places: Places, rows: np.ndarray, of: np.ndarray, count: int) -> np.ndarray:
    """Return the most frequent label of each unit; of equals the first by name."""
    if not places.label_names:
        return np.broadcast_to(np.int64(-1), count)
    found, width = np.full(count, -1, np.int64), len(places.label_names)
    rank = np.argsort(np.argsort(np.array(places.label_names)))
    labels = places.labels[rows]
    known = labels >= 0
    pairs, counts = np.unique(of[known].astype(np.int64) * width + rank[labels[known]], return_counts=True)
    units, ranks = pairs // width, pairs % width
    order = np.lexsort((ranks, -counts, units))
    first = order[np.flatnonzero(np.diff(units[order], prepend=-1))]
    found[units[first]] = ranks[first]
    return found
