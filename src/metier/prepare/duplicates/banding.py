"""Finds pairs that may be alike without looking at all pairs: rows that agree in one whole band of their signatures.

Where many rows do, they have to agree in further places too (a forest of prefixes: Bawa, Condie and Ganesan, 2005): so
a row is compared with few others however many there are, and those are the ones that are most like it.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from metier.prepare.duplicates.clusters import Clusters
from metier.prepare.duplicates.signatures import BANDS
from metier.prepare.duplicates.sketches import FURTHER, Sketches

Alike = Callable[[np.ndarray], np.ndarray]
"""Takes pairs of row numbers, int64 [P, 2], and tells which are alike, bool [P]."""

_LEADERS = 8
"""So often the rest of a bucket is compared with the next row of it; what is then left may meet in another band."""

_MANY = 16
_FEW = 4
"""A bucket of more than many rows is parted by further places, one after the other, until there are few in each."""

_TOGETHER = 1 << 19
"""So many rows and bands, about, are looked at together: several bands of few rows, or a part of one band of many."""

_MOST_PAIRS = 1 << 18
_REMEMBERED_BITS = 20
_MOST_SLOT_BITS = 21


class Further(NamedTuple):
    """What is known of the keys of some bands: `count` rows of each, one band after the other."""

    sketches: Sketches
    first: int
    behind: int
    count: int

    def rows(self, places: np.ndarray) -> np.ndarray:
        """Return the rows of some places, int64."""
        return places % self.count

    def of(self, places: np.ndarray) -> np.ndarray:
        """Return the further places of some, uint64: four bytes, the first of them highest."""
        return self.sketches.further(self.first, self.behind).ravel()[places].astype(np.uint64)


def gather(sketches: Sketches, usable: np.ndarray, alike: Alike, clusters: Clusters) -> None:
    """Join the rows that are alike.

    Args:
        sketches: of all rows.
        usable: bool [rows], the rows to look at.
        alike: judges pairs.
        clusters: what is joined.
    """
    fresh = _Fresh()
    for keys, further in _keys(sketches, usable):
        for pairs in _meeting(*_parted(*_crowded(keys), further), clusters):
            chosen = fresh.of(pairs)
            for start in range(0, len(chosen), _MOST_PAIRS):
                part = chosen[start : start + _MOST_PAIRS]
                clusters.join(part[alike(part)])


def _keys(sketches: Sketches, usable: np.ndarray) -> Iterator[tuple[np.ndarray, Further]]:
    """Yield uint64 keys that may meet another, and what knows further places of theirs; equal hashes come together.

    A key is the hash of a band in the upper half; in the lower, the row and which of the bands here, as one number.
    """
    count = len(usable)
    if not count:
        return
    bands, parts = max(1, _TOGETHER // count), -(-count // _TOGETHER)
    rows, slots = np.flatnonzero(usable), _Slots(-(-count // parts))
    for first in range(0, BANDS, bands):
        behind = min(first + bands, BANDS)
        every = sketches.bands(first, behind)
        for part in range(parts):
            lowest, highest = (-(-(place << 32) // parts) for place in (part, part + 1))
            found = []
            for band, hashes in enumerate(every):
                chosen = rows
                if parts > 1:
                    chosen = rows[(hashes[rows] >= lowest) & (hashes[rows] <= highest - 1)]
                chosen = chosen[slots.sharing(hashes[chosen])]
                places = (chosen + band * count).astype(np.uint64)
                found.append((hashes[chosen].astype(np.uint64) << np.uint64(32)) | places)
            keys = np.concatenate(found)
            if len(keys):
                yield keys, Further(sketches, first, behind, count)


class _Slots:
    """Leaves out most of the hashes that no other is equal to: nearly all are, and sorting them takes longest.

    Args:
        count: of hashes at a time, about.
    """

    def __init__(self, count: int) -> None:
        bits = min((4 * count).bit_length(), _MOST_SLOT_BITS)
        self._mask = np.uint32((1 << bits) - 1)
        self._last, self._shared = np.empty(1 << bits, np.uint32), np.zeros(1 << bits, bool)

    def sharing(self, hashes: np.ndarray) -> np.ndarray:
        """Return where hashes, uint32, stand that share a slot with another, ascending, int64.

        Of those that share one the last one written stays in it, and shows the others that it is there.
        """
        slots = (hashes & self._mask).astype(np.int64)
        numbers = np.arange(len(hashes), dtype=np.uint32)
        self._last[slots] = numbers
        beaten = slots[self._last[slots] != numbers]
        self._shared[beaten] = True
        found = np.flatnonzero(self._shared[slots])
        self._shared[beaten] = False
        return found


class _Fresh:
    """Leaves out pairs that have been seen: what was refused in one band is refused in the next. It forgets some."""

    def __init__(self) -> None:
        self._seen = np.zeros(1 << _REMEMBERED_BITS, np.uint64)

    def of(self, pairs: np.ndarray) -> np.ndarray:
        """Return the pairs that have not been seen, int64 [P, 2], each once, in order."""
        names = np.sort((pairs[:, 0].astype(np.uint64) << np.uint64(32)) | pairs[:, 1].astype(np.uint64))
        names = names[_begins(names)]
        spots = (names * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _REMEMBERED_BITS)
        names, spots = names[new := self._seen[spots] != names], spots[new]
        self._seen[spots] = names
        return np.stack([names >> np.uint64(32), names & np.uint64(0xFFFFFFFF)], 1).astype(np.int64)


def _crowded(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return buckets, uint64, and places, int64, of the keys whose hash others have too, in order; sorts the keys."""
    keys.sort()
    hashes = keys >> np.uint64(32)
    same = np.concatenate([[False], hashes[1:] == hashes[:-1], [False]])
    crowded = (same[1:] | same[:-1])[: len(keys)]
    return hashes[crowded], (keys[crowded] & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _parted(buckets: np.ndarray, places: np.ndarray, further: Further) -> tuple[np.ndarray, np.ndarray]:
    """Part large buckets until few rows are left in each, or no further places; return buckets anew, and rows."""
    begins = _begins(buckets)
    sizes = np.diff(np.append(begins, len(buckets)))
    numbers = np.repeat(np.arange(len(begins)), sizes)
    large = np.flatnonzero(np.repeat(sizes > _MANY, sizes))
    if not len(large):
        return numbers, further.rows(places)
    names = (numbers[large].astype(np.uint64) << np.uint64(32)) | further.of(places[large])
    order = np.argsort(names, kind="stable")
    names, changed, settled = names[order], np.zeros(len(large), bool), np.zeros(len(large), bool)
    for depth in range(1, FURTHER + 1):
        prefixes = names >> np.uint64(8 * (FURTHER - depth))
        begins = _begins(prefixes)
        changed[begins[~settled[begins]]] = True
        sizes = np.diff(np.append(begins, len(prefixes)))
        settled |= np.repeat(sizes <= _FEW, sizes)
    rest = np.ones(len(places), bool)
    rest[large] = False
    parted = np.concatenate([numbers[rest], len(numbers) + np.cumsum(changed)])
    return parted, further.rows(np.concatenate([places[rest], places[large][order]]))


def _begins(ordered: np.ndarray) -> np.ndarray:
    """Return where runs of equal values begin, int64."""
    return np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)])


def _meeting(buckets: np.ndarray, rows: np.ndarray, clusters: Clusters) -> Iterator[np.ndarray]:
    """Yield pairs of one bucket that are not in one cluster yet: its first row with all others, then with the rest."""
    for _ in range(_LEADERS):
        begins = _begins(buckets)
        leaders = np.repeat(rows[begins], np.diff(np.append(begins, len(buckets))))
        other = clusters.roots_of(leaders) != clusters.roots_of(rows)
        if not other.any():
            return
        yield np.stack([leaders[other], rows[other]], 1)
        left = clusters.roots_of(leaders) != clusters.roots_of(rows)
        buckets, rows = buckets[left], rows[left]
