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
_HIT = np.dtype([("hash", "<u8"), ("row", "<u4")])


class Meeting:
    """First hashes are held, then those of rows pass by; a context manager, which deletes its files.

    Args:
        folder: for the files: eight bytes a held hash, and twelve for each that may be one.
    """

    def __init__(self, folder: Path) -> None:
        self.held = 0
        self._folder = folder
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
        _deal(self._passing, hashes[likely], hits)

    def _sieved(self) -> "_Sieve":
        sieve = _Sieve(self.held)
        for file in self._holding:
            sieve.add(_read(file, np.dtype("<u8")))
        return sieve

    def met(self, most_rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that have a held hash, int64 ascending, and the lowest such hash of each.

        Hashes that more than `most_rows` rows have do not count.
        """
        found = [np.empty(0, _HIT)]
        for holding, passing in zip(self._holding, self._passing, strict=True):
            held, hits = _read(holding, np.dtype("<u8")), _read(passing, _HIT)
            held.sort()
            if len(held) and len(hits):
                places = np.minimum(np.searchsorted(held, hits["hash"]), len(held) - 1)
                found.append(_few(hits[held[places] == hits["hash"]], most_rows))
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


def _deal(files: list[Any], hashes: np.ndarray, values: np.ndarray) -> None:
    """Write values to the files of their parts; the hashes are in order."""
    edges = np.searchsorted(hashes >> _PART_BITS, np.arange(_PARTS + 1, dtype=np.uint64))
    for file, begin, end in zip(files, edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if end > begin:
            file.write(values[begin:end].tobytes())


def _read(file: Any, kind: np.dtype[Any]) -> np.ndarray:
    file.seek(0)
    return np.fromfile(file, kind)


def _few(hits: np.ndarray, most_rows: int) -> np.ndarray:
    """Return different hits in the order of hash and row, without hashes that stand in many rows."""
    hits = hits[np.lexsort((hits["row"], hits["hash"]))]
    again = (hits["hash"][1:] == hits["hash"][:-1]) & (hits["row"][1:] == hits["row"][:-1])
    hits = hits[np.concatenate([[True], ~again])[: len(hits)]]
    _, places, counts = np.unique(hits["hash"], return_inverse=True, return_counts=True)
    return hits[counts[places] <= most_rows]
