"""Where each row id was first seen, in some fifty bytes a row: a dictionary of texts would take three hundred."""

from array import array

_SMALLEST = 1 << 12


class First:
    """A map from row ids to the source and role of the first row that bore them.

    An open-addressing table of 96-bit ids (two columns) and the numbers of their entries; sources are kept as the
    number of a file and a line. At most half of the table is filled, so that a look-up takes two probes or so.
    """

    def __init__(self) -> None:
        self._high, self._low, self._numbers = _columns(_SMALLEST)
        self._files: dict[tuple[str, str], int] = {}
        self._names: list[tuple[str, str]] = []
        self._of: array[int] = array("I")
        self._lines: array[int] = array("q")

    def __len__(self) -> int:
        """Return the number of ids."""
        return len(self._lines)

    def setdefault(self, row_id: str, source: str, role: str) -> tuple[str, str]:
        """Return source and role of the first row with this id (24 hexadecimal characters); this one, if it is new."""
        high, low = int(row_id[:16], 16), int(row_id[16:24], 16)
        place = self._place(high, low)
        if self._numbers[place]:
            return self._entry(self._numbers[place] - 1)
        name, _, line = source.rpartition(":")
        plain = bool(name) and line.isascii() and line.isdigit() and len(line) < 19 and not line.startswith("0")
        file = (name, role) if plain else (source, role)
        if file not in self._files:
            self._files[file] = len(self._names)
            self._names.append(file)
        self._of.append(self._files[file])
        self._lines.append(int(line) if plain else -1)
        self._high[place], self._low[place], self._numbers[place] = high, low, len(self._lines)
        if 2 * len(self._lines) > len(self._numbers):
            self._grow()
        return source, role

    def _entry(self, number: int) -> tuple[str, str]:
        (name, role), line = self._names[self._of[number]], self._lines[number]
        return (f"{name}:{line}" if line >= 0 else name), role

    def _place(self, high: int, low: int) -> int:
        """Return where an id stands, or where it would."""
        mask = len(self._numbers) - 1
        place = high & mask
        while self._numbers[place] and (self._high[place] != high or self._low[place] != low):
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        before = self._high, self._low, self._numbers
        self._high, self._low, self._numbers = _columns(2 * len(self._numbers))
        for high, low, number in zip(*before, strict=True):
            if number:
                place = self._place(high, low)
                self._high[place], self._low[place], self._numbers[place] = high, low, number


def _columns(size: int) -> "tuple[array[int], array[int], array[int]]":
    return array("Q", bytes(8 * size)), array("I", bytes(4 * size)), array("I", bytes(4 * size))
