"""Signatures of all rows in files: a hash of each band, to find rows that may be alike, and short forms."""

from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from metier.prepare.duplicates.signatures import BANDS, PLACES, ROWS_PER_BAND
from metier.prepare.duplicates.words import mixed
from metier.prepare.ledger import Records, write_whole

_BAND_BYTES = 4
FURTHER = 4
"""So many places behind a band tell its rows apart where too many meet."""

_TOGETHER = 1 << 11
"""So many rows are written at a time: every band is a place of its own in the file."""

_SKETCH = np.dtype([("places", "u1", PLACES)])
_ONES = np.uint64(0x0101010101010101)
"""Times this, the upper byte of a number is the sum of its bytes."""

_FACTORS = mixed(np.arange(1, ROWS_PER_BAND + 1, dtype=np.uint64)) | np.uint64(1)
_ADDED = mixed(np.arange(BANDS, dtype=np.uint64))


class Sketches:
    """A context manager; first every row is added, in order, then all are looked at. In memory is one band at a time.

    Args:
        folder: for the files, 480 bytes a row; the caller deletes it.
        count: rows.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._folder, self._count, self._added = folder, count, 0
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def __enter__(self) -> Self:
        """Open the files."""
        self._bands, self._further, self._short = (
            (self._folder / name).open("w+b", buffering=0) for name in ("bands", "further", "sketches")
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        self._bands.close()
        self._further.close()
        self._short.close()

    def add(self, found: np.ndarray) -> None:
        """Write the signatures of some rows, uint32 [rows, PLACES]: of each place eight bits are kept."""
        short = (found & np.uint32(0xFF)).astype(np.uint8)
        write_whole(self._short, short.tobytes())
        self._waiting.append((_band_hashes(found), _behind(short)))
        if sum(len(hashes) for hashes, _ in self._waiting) >= _TOGETHER:
            self._write()

    def _write(self) -> None:
        for stream, parts in zip((self._bands, self._further), zip(*self._waiting, strict=True), strict=True):
            for number, band in enumerate(np.ascontiguousarray(np.concatenate(parts).T)):
                stream.seek((number * self._count + self._added) * _BAND_BYTES)
                write_whole(stream, band.tobytes())
        self._added += sum(len(hashes) for hashes, _ in self._waiting)
        self._waiting = []

    def seal(self) -> None:
        """Write the rest; nothing may be added afterwards."""
        if self._waiting:
            self._write()

    def bands(self, first: int, behind: int) -> np.ndarray:
        """Return the hashes of some bands, uint32 [bands, rows]; those of different bands are different."""
        return self._columns(self._bands, first, behind)

    def further(self, first: int, behind: int) -> np.ndarray:
        """Return four further places of each band, eight bits of each, the first of them highest: uint32, as `bands`.

        They are the places of the band behind it.
        """
        return self._columns(self._further, first, behind)

    def _columns(self, stream: BinaryIO | Any, first: int, behind: int) -> np.ndarray:
        stream.seek(first * self._count * _BAND_BYTES)
        content = stream.read((behind - first) * self._count * _BAND_BYTES)
        return np.frombuffer(content, np.uint32).reshape(-1, self._count)

    def agreeing(self, pairs: np.ndarray) -> np.ndarray:
        """Return in what share of their places the rows of pairs, int64 [P, 2], agree."""
        found = Records(self._short, _SKETCH).of(pairs)["places"]
        eights = (found[:, 0] == found[:, 1]).view(np.uint64).sum(1)  # eight counts, of at most 20 each, in one number
        return ((eights * _ONES) >> np.uint64(56)) / PLACES


def _band_hashes(found: np.ndarray) -> np.ndarray:
    """Hash the places of each band, uint32 [rows, BANDS]."""
    places = found.reshape(len(found), BANDS, ROWS_PER_BAND)
    total = _ADDED + places[:, :, 0] * _FACTORS[0]
    for step in range(1, ROWS_PER_BAND):
        total += places[:, :, step] * _FACTORS[step]
    return (mixed(total) >> np.uint64(32)).astype(np.uint32)


def _behind(short: np.ndarray) -> np.ndarray:
    """Return for each band the places of the next, uint32 [rows, BANDS], of uint8 [rows, PLACES]."""
    return np.roll(short.reshape(-1, BANDS, FURTHER), -1, axis=1).view(">u4")[:, :, 0].astype(np.uint32)
