"""Finds pairs that may be alike without looking at all pairs: rows that agree in one whole band of their signatures."""

from collections.abc import Callable, Iterator

import numpy as np

from metier.prepare.duplicates.clusters import Clusters
from metier.prepare.duplicates.signatures import BANDS
from metier.prepare.duplicates.sketches import Sketches

Alike = Callable[[np.ndarray], np.ndarray]
"""Takes pairs of row numbers, int64 [P, 2], and tells which are alike, bool [P]."""

_LEADERS = 8
"""So often the rest of a bucket is compared with the next row of it; what is then left may meet in another band."""

_TOGETHER = 1 << 19
"""So many rows and bands, about, are looked at together: several bands of few rows, or a part of one band of many."""

_MOST_PAIRS = 1 << 18
_REMEMBERED_BITS = 20


def gather(sketches: Sketches, usable: np.ndarray, alike: Alike, clusters: Clusters) -> None:
    """Join the rows that are alike.

    Args:
        sketches: of all rows.
        usable: bool [rows], the rows to look at.
        alike: judges pairs.
        clusters: what is joined.
    """
    fresh = _Fresh()
    for keys in _keys(sketches, usable):
        keys.sort()
        for pairs in _meeting(keys, clusters):
            chosen = fresh.of(pairs)
            for start in range(0, len(chosen), _MOST_PAIRS):
                part = chosen[start : start + _MOST_PAIRS]
                clusters.join(part[alike(part)])


def _keys(sketches: Sketches, usable: np.ndarray) -> Iterator[np.ndarray]:
    """Yield uint64 keys: the hash of a band in the upper half, the row in the lower; equal hashes come together."""
    count = len(usable)
    if not count:
        return
    bands, parts = max(1, _TOGETHER // count), -(-count // _TOGETHER)
    for first in range(0, BANDS, bands):
        hashes = sketches.bands(first, min(first + bands, BANDS))
        for part in range(parts):
            lowest, highest = (-(-(place << 32) // parts) for place in (part, part + 1))
            chosen = usable if parts == 1 else usable & (hashes >= lowest) & (hashes <= highest - 1)
            rows = np.nonzero(np.broadcast_to(chosen, hashes.shape))
            keys = hashes[rows].astype(np.uint64)
            keys <<= np.uint64(32)
            keys |= rows[1].astype(np.uint64)
            if len(keys):
                yield keys


class _Fresh:
    """Leaves out pairs that have been seen: what was refused in one band is refused in the next. It forgets some."""

    def __init__(self) -> None:
        self._seen = np.zeros(1 << _REMEMBERED_BITS, np.uint64)

    def of(self, pairs: np.ndarray) -> np.ndarray:
        """Return the pairs that have not been seen, int64 [P, 2], each once, in order."""
        names = np.unique((pairs[:, 0].astype(np.uint64) << np.uint64(32)) | pairs[:, 1].astype(np.uint64))
        spots = (names * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _REMEMBERED_BITS)
        names, spots = names[new := self._seen[spots] != names], spots[new]
        self._seen[spots] = names
        return np.stack([names >> np.uint64(32), names & np.uint64(0xFFFFFFFF)], 1).astype(np.int64)


def _meeting(keys: np.ndarray, clusters: Clusters) -> Iterator[np.ndarray]:
    """Yield pairs of one bucket that are not in one cluster yet: its first row with all others, then with the rest."""
    hashes = keys >> np.uint64(32)
    same = np.concatenate([[False], hashes[1:] == hashes[:-1], [False]])
    crowded = same[1:] | same[:-1]
    buckets, rows = hashes[crowded], (keys[crowded] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    del keys, hashes, same, crowded
    for _ in range(_LEADERS):
        begins = np.flatnonzero(np.diff(buckets, prepend=~buckets[:1]))
        leaders = np.repeat(rows[begins], np.diff(np.append(begins, len(buckets))))
        other = clusters.roots_of(leaders) != clusters.roots_of(rows)
        if not other.any():
            return
        yield np.stack([leaders[other], rows[other]], 1)
        left = clusters.roots_of(leaders) != clusters.roots_of(rows)
        buckets, rows = buckets[left], rows[left]
