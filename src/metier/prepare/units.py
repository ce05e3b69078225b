"""Rows that stay together when they are split: of one group, asking the same, or near-duplicates of each other."""

from dataclasses import dataclass

import numpy as np

from metier.core import seeds
from metier.prepare.duplicates.clusters import Clusters
from metier.prepare.duplicates.words import mixed
from metier.prepare.places import Places


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Units:
    """U units over some rows.

    `of` int64 [rows]: the unit of each row; `at` float64 [U]: where it stands on the line from 0 to 1; `sizes` int64
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
    names, firsts, of = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    of, names = rank[of], names[order]  # units are numbered in the order of their first rows
    if clusters is not None:
        of, names = _joined(of, names, clusters[rows])
    sizes = np.bincount(of, minlength=len(names))
    latest = np.full(len(names), -np.inf)
    np.maximum.at(latest, of, np.nan_to_num(places.times[rows], nan=np.inf))
    return Units(
        of=of, at=(names >> np.uint64(11)) / float(1 << 53), sizes=sizes,
        labels=_labels(places, rows, of, len(names)), latest=latest, alone=alone,
    )  # fmt: skip


def _keys(places: Places, rows: np.ndarray, *, group_inputs: bool, most: float, seed: int) -> tuple[np.ndarray, int]:
    """Return a hash of what each row goes by, uint64 [rows], and how many rows that ask the same are parted."""
    groups, asks = places.groups[rows], places.asks[rows]
    _, places_of, counts = np.unique(np.where(groups == 0, asks, 0), return_inverse=True, return_counts=True)
    few = counts[places_of] <= most
    ids = np.ascontiguousarray(places.ids[rows, :8]).view(np.uint64)[:, 0] + places.copies[rows].astype(np.uint64)
    together = few & group_inputs
    chosen = [_placed(values, name, seed) for name, values in (("group", groups), ("asks", asks), ("row", ids))]
    alone = int(np.count_nonzero((groups == 0) & ~few)) if group_inputs else 0
    return np.where(groups != 0, chosen[0], np.where(together, chosen[1], chosen[2])), alone


def _placed(values: np.ndarray, kind: str, seed: int) -> np.ndarray:
    return mixed(mixed(values) + np.uint64(seeds.key(seed, "split", kind)))


def _joined(of: np.ndarray, names: np.ndarray, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join the units of rows that are near-duplicates; the first of them gives its name."""
    _, firsts, places_of = np.unique(clusters, return_index=True, return_inverse=True)
    pairs = np.stack([of[firsts[places_of]], of], 1)
    pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
    if not len(pairs):
        return of, names
    joined = Clusters(len(names))
    joined.join(pairs)
    kept, renumbered = np.unique(joined.roots(), return_inverse=True)
    return renumbered[of], names[kept]


def _labels(places: Places, rows: np.ndarray, of: np.ndarray, count: int) -> np.ndarray:
    """Return the most frequent label of each unit; of equals the first by name."""
    found = np.full(count, -1, np.int64)
    if not places.label_names:
        return found
    rank = np.argsort(np.argsort(np.array(places.label_names)))
    labels = places.labels[rows]
    known = labels >= 0
    pairs, counts = np.unique(np.stack([of[known], rank[labels[known]]], 1), axis=0, return_counts=True)
    order = np.lexsort((pairs[:, 1], -counts, pairs[:, 0]))
    pairs = pairs[order]
    first = np.ones(len(pairs), bool)
    first[1:] = pairs[1:, 0] != pairs[:-1, 0]
    found[pairs[first, 0]] = pairs[first, 1]
    return found
