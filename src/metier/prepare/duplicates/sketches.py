"""Signatures of all rows in two files: a hash of each band, to find rows that may be alike, and short forms."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from metier.prepare.duplicates.signatures import BANDS, PLACES, ROWS_PER_BAND
from metier.prepare.duplicates.words import mixed

_BAND_BYTES = 4


class Sketches:
    """A context manager; first every row is added, in order, then all are looked at. In memory is one band at a time.

    Args:
        folder: for the files, 320 bytes a row; the caller deletes it.
        count: rows.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._folder, self._count, self._added = folder, count, 0

    def __enter__(self) -> Self:
        """Open the files."""
        self._bands, self._short = ((self._folder / name).open("w+b", buffering=0) for name in ("bands", "sketches"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        self._bands.close()
        self._short.close()

    def add(self, found: np.ndarray) -> None:
        """Write the signatures of some rows, uint32 [rows, PLACES]: of each place eight bits are kept."""
        for number, hashes in enumerate(np.ascontiguousarray(_band_hashes(found).T)):
            self._bands.seek((number * self._count + self._added) * _BAND_BYTES)
            self._bands.write(hashes.tobytes())
        self._short.write((found & np.uint32(0xFF)).astype(np.uint8).tobytes())
        self._added += len(found)

    def bands(self) -> Iterator[np.ndarray]:
        """Yield the hashes of each band, uint32 [rows]."""
        self._bands.seek(0)
        for _ in range(BANDS):
            yield np.frombuffer(self._bands.read(self._count * _BAND_BYTES), np.uint32)

    def agreeing(self, pairs: np.ndarray) -> np.ndarray:
        """Return in what share of their places the rows of pairs, int64 [P, 2], agree."""
        rows, inverse = np.unique(pairs, return_inverse=True)
        table = np.frombuffer(b"".join([self._read(row) for row in rows.tolist()]), np.uint8).reshape(-1, PLACES)
        sides = inverse.reshape(-1, 2)
        return (table[sides[:, 0]] == table[sides[:, 1]]).mean(1)

    def _read(self, row: int) -> bytes:
        self._short.seek(row * PLACES)
        return self._short.read(PLACES) or b""


def _band_hashes(found: np.ndarray) -> np.ndarray:
    """Hash the places of each band, uint32 [rows, BANDS]."""
    places = found.reshape(len(found), BANDS, ROWS_PER_BAND).astype(np.uint64)
    total = places[:, :, 0]
    for step in range(1, ROWS_PER_BAND):
        total = mixed(total) + places[:, :, step]
    return (mixed(total) >> np.uint64(32)).astype(np.uint32)
