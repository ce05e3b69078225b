"""Where each row id was first seen, in some twenty bytes a row: a dictionary of texts would take three hundred."""

from array import array
from pathlib import Path
from typing import Any

import numpy as np

from metier.prepare.ledger import unnamed, write_whole

_SMALLEST = 1 << 12
_TOGETHER = 1 << 12
_ENTRY = np.dtype([("high", "<u8"), ("low", "<u4"), ("file", "<u4"), ("line", "<i8")])


class First:
    """A map from row ids to the source and role of the first row that bore them.

    An open-addressing table holds 32 bits of each id and the number of its entry. The entries (the whole id, the number
    of a file, a line) stand on disk and are looked at where those 32 bits are the same: for copies, and for one other
    row in a thousand million. At most two thirds of the table are filled, so that a look-up takes two probes or so.

    Args:
        folder: for the file of entries.
    """

    def __init__(self, folder: Path) -> None:
        self._slots: array[int] = array("Q", bytes(8 * _SMALLEST))
        self._files: dict[tuple[str, str], int] = {}
        self._names: list[tuple[str, str]] = []
        self._stream: Any = unnamed(self, folder, buffering=0)
        self._waiting: list[tuple[int, int, int, int]] = []
        self._written = 0

    def __len__(self) -> int:
        """Return the number of ids."""
        return self._written + len(self._waiting)

    def setdefault(self, row_id: str, source: str, role: str) -> tuple[str, str]:
        """Return source and role of the first row with this id (24 hexadecimal characters); this one, if it is new."""
        high, low = int(row_id[:16], 16), int(row_id[16:24], 16)
        slots, mask = self._slots, len(self._slots) - 1
        place = high & mask
        while word := slots[place]:
            if word >> 32 == low and (found := self._entry((word & 0xFFFFFFFF) - 1))[0] == high:
                name, role = self._names[found[2]]
                return (f"{name}:{found[3]}" if found[3] >= 0 else name), role
            place = (place + 1) & mask
        name, _, line = source.rpartition(":")
        plain = bool(name) and line.isascii() and line.isdigit() and len(line) < 19 and not line.startswith("0")
        file = (name, role) if plain else (source, role)
        if file not in self._files:
            self._files[file] = len(self._names)
            self._names.append(file)
        self._waiting.append((high, low, self._files[file], int(line) if plain else -1))
        slots[place] = (low << 32) | len(self)
        if len(self._waiting) == _TOGETHER:
            self._write()
        if 3 * len(self) > 2 * len(slots):
            self._grow()
        return source, role

    def _entry(self, number: int) -> tuple[int, int, int, int]:
        if number >= self._written:
            return self._waiting[number - self._written]
        self._stream.seek(number * _ENTRY.itemsize)
        return np.frombuffer(self._stream.read(_ENTRY.itemsize), _ENTRY)[0].item()

    def _write(self) -> None:
        self._stream.seek(0, 2)
        write_whole(self._stream, np.array(self._waiting, _ENTRY).tobytes())
        self._written += len(self._waiting)
        self._waiting = []

    def _grow(self) -> None:
        """Put all entries into a table twice as large, read from the file part by part."""
        self._write()
        size = 2 * len(self._slots)
        self._slots = array("Q")  # the old one is not needed for it
        self._slots = array("Q", bytes(8)) * size
        slots = np.frombuffer(self._slots, np.uint64)
        self._stream.seek(0)
        number = 0
        while content := self._stream.read(_TOGETHER * _ENTRY.itemsize):
            part = np.frombuffer(content, _ENTRY)
            numbers = np.arange(number + 1, number + len(part) + 1, dtype=np.uint64)
            _insert(slots, part["high"], (part["low"].astype(np.uint64) << np.uint64(32)) | numbers)
            number += len(part)


def _insert(slots: np.ndarray, places: np.ndarray, words: np.ndarray) -> None:
    """Put words, all different, at their places modulo the size of the table or at the next free ones behind them."""
    mask = np.uint64(len(slots) - 1)
    places = places & mask
    while len(places):
        free = slots[places] == 0
        slots[places[free]] = words[free]
        lost = slots[places] != words
        places, words = (places[lost] + np.uint64(1)) & mask, words[lost]
