"""Finds pairs that may be alike without looking at all pairs: rows that agree in one whole band of their signatures."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from metier.prepare.duplicates.clusters import Clusters

Alike = Callable[[np.ndarray], np.ndarray]
"""Takes pairs of row numbers, int64 [P, 2], and tells which are alike, bool [P]."""

_LEADERS = 8
"""So often the rest of a bucket is compared with the next row of it; what is then left may meet in another band."""

_MOST_PAIRS = 1 << 18


def gather(bands: Iterable[np.ndarray], usable: np.ndarray, alike: Alike, clusters: Clusters) -> None:
    """Join the rows that are alike, band by band.

    Args:
        bands: uint32 [rows] each, a hash of that band of each row.
        usable: int64, the rows to look at.
        alike: judges pairs.
        clusters: what is joined.
    """
    for band in bands:
        keys = (band[usable].astype(np.uint64) << np.uint64(32)) | usable.astype(np.uint64)
        keys.sort()
        for pairs in _meeting(keys, clusters):
            for start in range(0, len(pairs), _MOST_PAIRS):
                part = pairs[start : start + _MOST_PAIRS]
                clusters.join(part[alike(part)])


def _meeting(keys: np.ndarray, clusters: Clusters) -> Iterator[np.ndarray]:
    """Yield pairs of one bucket that are not in one cluster yet: its first row with all others, then with the rest."""
    buckets, rows = keys >> np.uint64(32), (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
    for _ in range(_LEADERS):
        begins = np.flatnonzero(np.diff(buckets, prepend=~buckets[:1]))
        sizes = np.diff(np.append(begins, len(buckets)))
        crowded = np.repeat(sizes > 1, sizes)
        if not crowded.any():
            return
        leaders = np.repeat(rows[begins], sizes)
        roots = clusters.roots()
        other = crowded & (roots[leaders] != roots[rows])
        yield np.stack([leaders[other], rows[other]], 1)
        roots = clusters.roots()
        left = crowded & (roots[leaders] != roots[rows])
        buckets, rows = buckets[left], rows[left]
        if not len(rows):
            return
