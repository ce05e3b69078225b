"""Cuts files into pieces that can be read apart from one another: whole lines of JSON, else records already read.

Where the cuts fall is a function of the file alone, and nothing depends on it: every line keeps its number.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from metier.prepare.candidate import Role
from metier.prepare.reading.composed import with_made
from metier.prepare.reading.json_rows import holds_lines, lines
from metier.prepare.reading.part import DataFile, Layout, Part
from metier.prepare.reading.record import Record
from metier.prepare.reading.settings import ReadSettings
from metier.prepare.reading.stream import codec_of, head_of, open_bytes, open_text
from metier.text.formats import Recognised

_BLOCK = 1 << 18
_RECORDS = 256
_CHARACTERS = 1 << 18
_FURTHER_BYTES = bytes(range(0x80, 0xC0))
"""Bytes that go on with a character in UTF-8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What has to be known of a file to read a piece of it; small, for it travels with every piece.

    `wraps` are foreign templates to take off, `longest` the most characters of a line, `made` columns that are made of
    others (records that are `ready` have them).
    """

    name: str
    role: Role
    layout: Layout
    recognised: Recognised
    wraps: tuple[str, ...] = ()
    longest: int = 1 << 26
    made: tuple[tuple[str, ...], ...] = ()


class Piece(NamedTuple):
    """A part of a file: `data`, whole lines of JSON in UTF-8, the first of which has the number `first`; or records."""

    reading: Reading
    data: bytes = b""
    first: int = 1
    ready: tuple[Record, ...] = ()

    def records(self) -> Iterator[Record]:
        """Yield the records of this piece.

        Raises:
            DataError: bytes are not UTF-8.
        """
        if not self.data:
            return iter(self.ready)
        text = io.StringIO(self.data.decode("utf-8", "surrogateescape"), newline="")
        found = lines(self.reading.name, text, self.first, self.reading.longest)
        made, columns = self.reading.made, frozenset(self.reading.recognised.columns.values())
        return (with_made(record, made, columns) for record in found) if made else found


def can_be_cut(file: DataFile, encoding: str, settings: ReadSettings) -> bool:
    """Tell whether a file is UTF-8 with one JSON value a line, so that its lines can be read apart."""
    if len(file.parts) != 1 or file.layout != "json" or file.piece is not None:
        return False
    part = file.parts[0]
    if not codec_of(head_of(part), encoding, part.name).startswith("utf-8"):
        return False
    with open_text(part, encoding, lambda count: None) as stream:
        return holds_lines(part.name, stream, longest=settings.longest << 20)


def cut(part: Part, reading: Reading, report: Callable[[int], None]) -> Iterator[Piece]:
    """Yield the pieces of a file of lines, in order.

    Args:
        part: where it is.
        reading: what is known of it.
        report: called with the number of bytes read.
    """
    number, waiting, passing = 1, _Waiting(reading.longest), True
    with open_bytes(part, report) as stream:
        while passing:
            data = stream.read(_BLOCK)
            place = _after_line(data)
            if place or not data:
                piece = waiting.taken(data[:place])
                if piece:
                    yield Piece(reading, piece, number)
                    number += _ends(piece)
            waiting.add(data[place:])
            passing = bool(data)


class _Waiting:
    """The beginning of a line whose end has not been read; of a line that is too long no more than shows that."""

    def __init__(self, longest: int) -> None:
        self._parts: list[bytes] = []
        self._characters = 0
        self._longest = longest

    def add(self, data: bytes) -> None:
        if self._characters <= self._longest:
            self._parts.append(data)
            self._characters += len(data.translate(None, _FURTHER_BYTES))

    def taken(self, data: bytes) -> bytes:
        """Return what has been kept with what ends it, and begin anew."""
        whole = b"".join([*self._parts, data])
        self._parts, self._characters = [], 0
        return whole


def _after_line(data: bytes) -> int:
    """Return the place behind the last line end that is one whatever follows, 0 when there is none."""
    place = data.rfind(b"\n") + 1
    return place or data.rfind(b"\r", 0, max(len(data) - 1, 0)) + 1


def _ends(data: bytes) -> int:
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


def grouped(records: Iterable[Record], reading: Reading) -> Iterator[Piece]:
    """Yield records that have been read in pieces of some hundred."""
    ready: list[Record] = []
    size = 0
    for record in records:
        ready.append(record)
        size += len(record.text)
        if len(ready) == _RECORDS or size > _CHARACTERS:
            yield Piece(reading, ready=tuple(ready))
            ready, size = [], 0
    if ready:
        yield Piece(reading, ready=tuple(ready))
