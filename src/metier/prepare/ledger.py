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
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import numpy as np

_NEAR = 16
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
        edges = np.flatnonzero(np.diff(wanted) > _NEAR)
        firsts, lasts = wanted[np.append(0, edges + 1)], wanted[np.append(edges, len(wanted) - 1)]
        size, descriptor = self._kind.itemsize, self._stream.fileno()
        content = b"".join(
            os.pread(descriptor, (last - first + 1) * size, first * size)
            for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)
        )
        counts = lasts - firsts + 1
        starts = np.repeat(
            np.cumsum(counts) - counts - firsts, np.diff(np.concatenate([[0], edges + 1, [len(wanted)]]))
        )
        return np.frombuffer(content, self._kind)[(wanted + starts)[places]].reshape(numbers.shape)


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
