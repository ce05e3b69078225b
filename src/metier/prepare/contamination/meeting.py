"""Which hashes of many rows are among many held ones: both on disk, so that neither side has to fit into memory."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from metier.prepare.ledger import unnamed

_PARTS = 32
"""Hashes are sorted and compared in so many parts, by their first bits."""

_PART_BITS = np.uint64(64 - _PARTS.bit_length() + 1)
_BITS_EACH, _MOST_BITS = 8, 28
"""Of a table that nearly all hashes fall through which are not held: for each held one, and at most, as a power of two
(32 MiB)."""

_TOGETHER = 1 << 18
_MOST_WAITING = 1 << 18
"""So many hits of a part are written before those that say nothing new are taken out."""

_HIT = np.dtype([("hash", "<u8"), ("row", "<u4")])


class Meeting:
    """First hashes are held, then those of rows pass by; a context manager, which deletes its files.

    Args:
        folder: for the files: eight bytes a held hash, and twelve for each that may be one.
        most_rows: hashes that more rows have do not count.
    """

    def __init__(self, folder: Path, most_rows: int) -> None:
        self.held = 0
        self._folder, self._most_rows = folder, most_rows
        self._waiting, self._kept = np.zeros(_PARTS, np.int64), np.zeros(_PARTS, np.int64)
        self._sieve: _Sieve | None = None

    def __enter__(self) -> Self:
        """Open the files."""
        self._holding, self._passing = ([unnamed(self, self._folder) for _ in range(_PARTS)] for _ in range(2))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        for file in (*self._holding, *self._passing):
            file.close()

    def hold(self, hashes: np.ndarray) -> None:
        """Add hashes, uint64 [K], to those that are looked for; only before any has passed by."""
        self.held += len(hashes)
        ordered = np.sort(hashes)
        _deal(self._holding, ordered, ordered)

    def pass_by(self, hashes: np.ndarray, rows: np.ndarray) -> None:
        """Let hashes, uint64 [K], of rows, int64 [K], pass by."""
        self._sieve = self._sieve or self._sieved()
        likely = self._sieve.likely(hashes)
        likely = likely[np.argsort(hashes[likely], kind="stable")]
        hits = np.empty(len(likely), _HIT)
        hits["hash"], hits["row"] = hashes[likely], rows[likely]
        self._waiting += _deal(self._passing, hashes[likely], hits)
        for part in np.flatnonzero(self._waiting > np.maximum(_MOST_WAITING, self._kept)).tolist():
            self._tidy(part)

    def _tidy(self, part: int) -> None:
        """Keep of a part what counts: a template that all rows share is written once for each of them, else."""
        hits = self._hits(part)
        self._passing[part].seek(0)
        self._passing[part].truncate()
        self._passing[part].write(hits.tobytes())
        self._waiting[part], self._kept[part] = 0, len(hits)

    def _hits(self, part: int) -> np.ndarray:
        """Return the hits of a part that are held, in order; of each hash those of one row more than count at most."""
        held, hits = _read(self._holding[part], np.dtype("<u8")), _read(self._passing[part], _HIT)
        held.sort()
        if not len(held):
            return hits[:0]
        places = np.minimum(np.searchsorted(held, hits["hash"]), len(held) - 1)
        return _first(hits[held[places] == hits["hash"]], self._most_rows + 1)

    def _sieved(self) -> "_Sieve":
        sieve = _Sieve(self.held)
        for file in self._holding:
            sieve.add(_read(file, np.dtype("<u8")))
        return sieve

    def met(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that have a held hash that counts, int64 ascending, and the lowest such hash of each."""
        found = [np.empty(0, _HIT)]
        for part in range(_PARTS):
            hits = self._hits(part)
            found.append(hits[_counts(hits) <= self._most_rows])
        every = np.concatenate(found)
        rows, firsts = np.unique(every["row"], return_index=True)  # parts come in the order of their hashes
        return rows.astype(np.int64), every["hash"][firsts]


class _Sieve:
    """A table of bits, one of which is set for each held hash."""

    def __init__(self, held: int) -> None:
        bits = min(_MOST_BITS, max(10, (_BITS_EACH * held).bit_length()))
        self._shift, self._bits = np.uint64(64 - bits), np.zeros(1 << (bits - 3), np.uint8)

    def add(self, hashes: np.ndarray) -> None:
        """Set the bits of some hashes."""
        for start in range(0, len(hashes), _TOGETHER):
            spots = hashes[start : start + _TOGETHER] >> self._shift
            np.bitwise_or.at(self._bits, spots >> np.uint64(3), np.uint8(1) << (spots & np.uint64(7)).astype(np.uint8))

    def likely(self, hashes: np.ndarray) -> np.ndarray:
        """Return which hashes may be held, int64."""
        spots = (hashes >> self._shift).astype(np.int64)
        return np.flatnonzero((self._bits[spots >> 3] >> (spots & 7).astype(np.uint8)) & 1)


def _deal(files: list[Any], hashes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Write values to the files of their parts; the hashes are in order. Return how many each got, int64."""
    edges = np.searchsorted(hashes >> _PART_BITS, np.arange(_PARTS + 1, dtype=np.uint64))
    for file, begin, end in zip(files, edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if end > begin:
            file.write(values[begin:end].tobytes())
    return np.diff(edges)


def _read(file: Any, kind: np.dtype[Any]) -> np.ndarray:
    file.seek(0)
    return np.fromfile(file, kind)


def _first(hits: np.ndarray, most: int) -> np.ndarray:
    """Return different hits in the order of hash and row, at most so many of each hash."""
    hits = hits[np.lexsort((hits["row"], hits["hash"]))]
    again = (hits["hash"][1:] == hits["hash"][:-1]) & (hits["row"][1:] == hits["row"][:-1])
    hits = hits[np.concatenate([[True], ~again])[: len(hits)]]
    further = hits["hash"][most:] == hits["hash"][:-most]
    return hits[np.concatenate([np.ones(min(most, len(hits)), bool), ~further])]


def _counts(hits: np.ndarray) -> np.ndarray:
    """Return how many hits have the hash of each, int64; they are in order."""
    _, places, counts = np.unique(hits["hash"], return_inverse=True, return_counts=True)
    return counts[places]
