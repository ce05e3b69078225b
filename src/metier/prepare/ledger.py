"""Numbers told of every row, in files without a name: in memory is what is being looked at.

A mapped page counts as memory of whoever looked at it, until it is let go; it comes back by itself when it is looked at
again. The system maps its neighbours beside it, so what is looked at here and there is read instead (`Records`).
"""

import mmap
import os
import weakref
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import numpy as np

NEAR = 1 << 13
"""Rows that are so many bytes from one another, or fewer, are read at once: asking for them apart takes longer."""

_MOST_BYTES = 1 << 22
"""So much, about, is read before the rows that are wanted are taken out of it."""

TOGETHER = 1 << 13
"""So many rows wait in memory before they are written."""

_DONT_NEED: int | None = vars(mmap).get("MADV_DONTNEED")
"""None where the system has no such advice: there the pages stay until the system wants them."""


@dataclass(slots=True)
class Pages:
    """Mapped files; what was seen of them can be let go."""

    _maps: list[mmap.mmap] = field(default_factory=list)

    def mapped(self, stream: BinaryIO | Any, kind: np.dtype[Any]) -> np.ndarray:
        """Return what a file holds, as an array that is read where it is looked at; it cannot be changed."""
        stream.flush()
        if not stream.seek(0, 2):
            return np.empty(0, kind)
        seen = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self._maps.append(seen)
        return np.frombuffer(seen, kind)

    def let_go(self) -> None:
        """Give the memory of everything seen so far back."""
        if _DONT_NEED is not None:
            for seen in self._maps:
                seen.madvise(_DONT_NEED)


class Records:
    """Rows of one size in an open file, read where they stand.

    Args:
        stream: stays open as long as this is needed.
        kind: of a row.
    """

    def __init__(self, stream: BinaryIO | Any, kind: np.dtype[Any]) -> None:
        self._stream, self._kind = stream, kind

    def of(self, numbers: np.ndarray) -> np.ndarray:
        """Return the rows with these numbers, of any shape; rows near to one another are read together."""
        if not numbers.size:
            return np.empty(numbers.shape, self._kind)
        if numbers.ndim == 1 and numbers[-1] - numbers[0] == len(numbers) - 1 and (np.diff(numbers) == 1).all():
            size = self._kind.itemsize
            content = os.pread(self._stream.fileno(), len(numbers) * size, int(numbers[0]) * size)
            return np.frombuffer(content, self._kind)
        wanted, places = np.unique(numbers, return_inverse=True)
        begins = wanted * self._kind.itemsize
        apart = (np.diff(begins) > NEAR) | (np.diff(begins // _MOST_BYTES) > 0)
        spans = np.concatenate([[0], np.flatnonzero(apart) + 1, [len(wanted)]])
        sizes = begins[spans[1:] - 1] - begins[spans[:-1]] + self._kind.itemsize
        found = np.empty(len(wanted), self._kind)
        for part in np.split(np.arange(len(sizes)), np.flatnonzero(np.diff(np.cumsum(sizes) // _MOST_BYTES)) + 1):
            self._read(wanted, spans[part[0] : part[-1] + 2], sizes[part], found)
        return found.take(places).reshape(numbers.shape)

    def _read(self, wanted: np.ndarray, spans: np.ndarray, sizes: np.ndarray, found: np.ndarray) -> None:
        """Read some of the rows `wanted`, int64 [N], ascending, into `found`, of the same length.

        Span i is from spans[i] to spans[i + 1] of them, and is sizes[i] bytes long.
        """
        descriptor, size = self._stream.fileno(), self._kind.itemsize
        firsts = wanted[spans[:-1]]
        content = b"".join(map(os.pread, repeat(descriptor), sizes.tolist(), (firsts * size).tolist()))
        before = np.cumsum(sizes // size) - sizes // size - firsts
        places = wanted[spans[0] : spans[-1]] + np.repeat(before, np.diff(spans))
        found[spans[0] : spans[-1]] = np.frombuffer(content, self._kind).take(places)


def unnamed(owner: object, folder: Path, *, buffering: int = -1) -> Any:
    """Open a file without a name, to write and read bytes; it is gone with its owner, or with the process.

    Args:
        owner: closes it when nobody needs it any more.
        folder: where its bytes are: on the device whose room is checked, not where the system keeps such files.
        buffering: as `open` has it.
    """
    stream = TemporaryFile(dir=folder, buffering=buffering)  # noqa: SIM115 - closed with its owner
    weakref.finalize(owner, stream.close)
    return stream


def write_whole(stream: BinaryIO | Any, content: bytes) -> None:
    """Write all of some bytes to a file without a buffer, which by itself stops where the device is full.

    Raises:
        OSError: no room for the rest.
    """
    rest = memoryview(content)
    while rest:
        rest = rest[stream.write(rest) :]


class Ledger:
    """Columns while rows come in: append to each of `waiting`, then call `turn` when `TOGETHER` rows wait.

    Args:
        codes: the type code of each column (see `array`).
        folder: for the files.
    """

    def __init__(self, codes: Mapping[str, str], folder: Path) -> None:
        self.waiting: dict[str, Any] = {name: array(code) for name, code in codes.items()}
        self._files: dict[str, Any] = {name: unnamed(self, folder) for name in codes}

    def turn(self) -> None:
        """Write what waits."""
        for name, column in self.waiting.items():
            self._files[name].write(column.tobytes())
            del column[:]

    def read(self) -> tuple[dict[str, np.ndarray], Pages]:
        """Return the columns; nothing may be added afterwards."""
        self.turn()
        pages, found = Pages(), {}
        for name, column in self.waiting.items():
            found[name] = pages.mapped(self._files[name], np.dtype(column.typecode))
        return found, pages
