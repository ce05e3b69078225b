"""Reads records out of JSON: one a line, a list of any size, or one object with rows in it; goes on after a bad one.

Only one record is held at a time, except for the object that fills its file.
"""

import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from metier.core.errors import DataError
from metier.prepare.reading.json_object import USUAL, holds_rows, rows_of
from metier.prepare.reading.record import Record, unusable
from metier.prepare.reading.stream import WRONG_BYTE, wrong_bytes
from metier.prepare.reading.strict_json import DECODER, LENIENT, NotStrict, broken, checked, record_of

_CHUNK = 1 << 16
_MOST_OF_AN_OBJECT = 1 << 27
"""Characters of an object that fills its file, which has to be held whole."""

_BEGINS = re.compile(r'\{\s*"[^"]*"\s*:\s*[\[{]\s*')
_HOLDS_ROWS = re.compile('"(?:' + "|".join(USUAL) + r')"\s*:\s*\[\s*\{')
_AROUND_BREAK = re.compile(r"\s*[\r\n]\s*")
_SPACE = re.compile(r"[\s\ufeff]*")


def json_rows(name: str, stream: io.TextIOBase, *, longest: int, piece: str | None) -> Iterator[Record]:
    """Yield the records of a JSON file, told by its first line to be a list, an object, or one record a line.

    Args:
        name: of the file, for messages.
        stream: its text.
        longest: most characters of one record.
        piece: the key of the object to read; None: found.

    Raises:
        DataError: the list is broken, the object holds no rows, or bytes are not UTF-8.
    """
    start = _opened(name, stream, longest)
    if start is None:
        return
    kind = _kind(start, longest)
    if piece is not None or kind == "object":
        yield from rows_of(name, _whole(name, start.first + start.second, stream), piece)
    elif kind == "list":
        yield from _List(name, stream, start.first + start.second, start.number, longest).records()
    else:
        yield from lines(name, stream, start.number, longest, begun=(start.first, start.second))


def holds_lines(name: str, stream: io.TextIOBase, *, longest: int) -> bool:
    """Tell whether a JSON file has one record a line.

    Raises:
        DataError: its first line is not UTF-8.
    """
    start = _opened(name, stream, longest)
    return start is not None and _kind(start, longest) == "lines"


class _Start(NamedTuple):
    """The first line that is not empty, its number, and the line behind it."""

    number: int
    first: str
    second: str


def _opened(name: str, stream: io.TextIOBase, longest: int) -> _Start | None:
    number, first = 0, ""
    while not first.strip("\ufeff \t\r\n"):
        first, number = stream.readline(longest + 1), number + 1
        if not first:
            return None
    _require_text(name, number, first)
    return _Start(number, first, stream.readline(longest + 1) if len(first) <= longest else "")


def _kind(start: _Start, longest: int) -> Literal["object", "list", "lines"]:
    text = start.first.lstrip("\ufeff \t")
    if text.startswith("{") and _is_open(text, start.second):
        return "object"
    return "list" if text.startswith("[") and _is_list(text, start.second, len(start.first) > longest) else "lines"


def _is_open(first: str, second: str) -> bool:
    """Tell whether the first line is, or only begins, an object that holds the rows."""
    if first.strip() == "{" or _BEGINS.fullmatch(first):
        return True
    if second.strip() or not _HOLDS_ROWS.search(first):
        return False
    try:
        return holds_rows(json.loads(first))
    except (ValueError, RecursionError):
        return False


def _is_list(start: str, second: str, cut: bool) -> bool:
    """Tell a list over the whole file from one small list a line."""
    if cut:
        return True
    try:
        json.loads(start)
    except (ValueError, RecursionError):
        return True
    return not second.strip()


def _whole(name: str, first: str, stream: io.TextIOBase) -> str:
    text = first + stream.read(_MOST_OF_AN_OBJECT)
    if len(text) > _MOST_OF_AN_OBJECT:
        raise DataError(
            f"{name}: one JSON object of more than {_MOST_OF_AN_OBJECT >> 20} million characters",
            "one object a line, or a list of objects", "write one row a line (.jsonl)",
        )  # fmt: skip
    if not text.isascii() and (wrong := WRONG_BYTE.search(text)):
        line = text.count("\n", 0, wrong.start()) + 1
        raise wrong_bytes(name, line, text[max(0, wrong.start() - 40) : wrong.end()])
    return text


def _require_text(name: str, number: int, line: str) -> None:
    if not line.isascii() and WRONG_BYTE.search(line):
        raise wrong_bytes(name, number, line)


def lines(
    name: str, stream: io.TextIOBase, number: int, longest: int, *, begun: Sequence[str] = ()
) -> Iterator[Record]:
    """Yield one record a line; a line longer than a record may be is passed over without being held.

    Args:
        name: of the file, for messages.
        stream: its text, from a line's beginning on.
        number: of that line.
        longest: most characters of one record.
        begun: lines that have been taken from the stream already.

    Raises:
        DataError: bytes are not UTF-8.
    """
    waiting = list(begun[1:])
    line = begun[0] if begun else stream.readline(longest + 1)
    while line:
        _require_text(name, number, line)
        if len(line) > longest:
            yield unusable(number, "a record that is too long", f"more than {longest:,} characters")
            while line and not line.endswith(("\n", "\r")):
                line = stream.readline(longest)
        else:
            text = line.strip("\ufeff \t\r\n")
            if text:
                yield record_of(number, text)
        number += 1
        line = waiting.pop() if waiting and waiting[0] else stream.readline(longest + 1)


class _List:
    """A list of objects that fills its file, read through a window; each element keeps its own text."""

    def __init__(self, name: str, stream: io.TextIOBase, begun: str, line: int, longest: int) -> None:
        self._name, self._stream, self._longest = name, stream, longest
        self._text, self._place, self._line = begun, begun.index("[") + 1, line
        self._counted, self._done = 0, False

    def records(self) -> Iterator[Record]:
        """Yield every element, and check that the list ends and nothing follows it."""
        while self._next() != "]":
            yield self._element()
            after = self._next()
            if after == ",":
                self._place += 1
            elif after != "]":
                raise self._unended(after)
        self._place += 1
        if self._next():
            raise DataError(f"{self._name}: text after the end of the list", "nothing after the last ]")

    def _more(self) -> bool:
        """Read on; forget what has been read. Grows with what it holds, so that a long element is not read often."""
        self._count_lines()
        self._text = self._text[self._place :]
        self._place = self._counted = 0
        chunk = self._stream.read(max(_CHUNK, len(self._text)))
        if not chunk.isascii() and WRONG_BYTE.search(chunk):
            place = WRONG_BYTE.search(chunk)
            line = self._line + chunk.count("\n", 0, place.start() if place else 0)
            raise wrong_bytes(self._name, line, chunk)
        self._text += chunk
        self._done = not chunk
        return not self._done

    def _count_lines(self) -> None:
        part = self._text[self._counted : self._place]
        self._line += part.count("\n") + part.count("\r") - part.count("\r\n")
        self._counted = self._place

    def _next(self) -> str:
        """Return the next character that is no space, "" at the end."""
        while True:
            found = _SPACE.match(self._text, self._place)
            self._place = found.end() if found else self._place
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._more():
                return ""

    def _element(self) -> Record:
        """Read one element, and more of the file while it seems to break off."""
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._place)
                if end == len(self._text) and self._more():
                    continue
                self._count_lines()
                record = checked(self._line, value, _AROUND_BREAK.sub(" ", self._text[self._place : end]))
            except NotStrict as error:
                self._count_lines()
                try:
                    record, end = broken(self._line, error), LENIENT.raw_decode(self._text, self._place)[1]
                except ValueError as cut:
                    if self._goes_on():
                        continue
                    raise self._not_json(cut) from cut
            except RecursionError as error:
                raise DataError(f"{self._name}:{self._line}: nested too deeply", "rows of ordinary depth") from error
            except ValueError as error:
                if self._goes_on():
                    continue
                raise self._not_json(error) from error
            self._place = end
            return record

    def _goes_on(self) -> bool:
        return len(self._text) - self._place <= self._longest and not self._done and self._more()

    def _not_json(self, error: ValueError) -> DataError:
        self._count_lines()
        if isinstance(error, json.JSONDecodeError):
            part = self._text[self._place : error.pos]
            line = self._line + part.count("\n") + part.count("\r") - part.count("\r\n")
            column = error.pos - max(self._text.rfind("\n", 0, error.pos), self._text.rfind("\r", 0, error.pos))
            return DataError(
                f"{self._name}:{line}: broken JSON ({error.msg} in column {column})", "a list of objects",
                "mend that line; or write one object a line (.jsonl)",
            )  # fmt: skip
        return self._broken(str(error)[:100], "a list of objects", "")

    def _unended(self, after: str) -> DataError:
        if not after:
            return self._broken("the list never ends", "a list: [ {…}, {…} ]", "copy the file again, or end it with ]")
        shown = self._text[self._place : self._place + 20].split("\n")[0]
        return self._broken(f"{shown!r} after an element", "a list: [ {…}, {…} ]", "put a comma between the elements")

    def _broken(self, what: str, wanted: str, do: str) -> DataError:
        self._count_lines()
        return DataError(f"{self._name}:{self._line}: broken JSON ({what})", wanted, do)
