"""Reads records out of JSON Lines and JSON files, each with the line it stands on, and goes on after a broken one."""

import json
import math
import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from metier.core.errors import DataError
from metier.prepare.reading import tables
from metier.prepare.reading.files import DataFile, open_text, wrong_bytes
from metier.prepare.reading.record import Record

_WRONG_BYTE = re.compile("[\udc80-\udcff]")
_AROUND_BREAK = re.compile(r"\s*[\r\n]\s*")
_SPACE = re.compile(r"\s*")


class _NotJson(ValueError):
    """JSON that only some programs write: NaN, a number beyond all bounds, one key twice."""


def _constant(name: str) -> None:
    raise _NotJson(f"{name} is not JSON")


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _NotJson(f"{text[:40]} is too large for a number")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        raise _NotJson(f"the key {next(name for name in names if names.count(name) > 1)[:40]!r} stands there twice")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_number)
_LENIENT = json.JSONDecoder()
"""Finds the end of an element that the strict one refuses."""


def records(file: DataFile, encoding: str, report: Callable[[int], None]) -> Iterator[Record]:
    """Yield every record of a file, in order.

    Args:
        file: what to read.
        encoding: `prepare.encoding`.
        report: called with the number of bytes read, for a progress bar.

    Raises:
        DataError: the file as a whole cannot be read: wrong encoding, damaged, a list that never ends …
    """
    if file.layout == "parquet":
        yield from tables.parquet(file, report)
        return
    with open_text(file, encoding, report) as stream:
        lines = _checked(file, stream)
        yield from tables.delimited(file, lines) if file.layout == "csv" else _json(file, lines)


def _checked(file: DataFile, lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if not line.isascii() and _WRONG_BYTE.search(line):
            raise wrong_bytes(file, number, line)
        yield line


class _Head(NamedTuple):
    """The first line with something on it."""

    number: int
    text: str


def _json(file: DataFile, lines: Iterator[str]) -> Iterator[Record]:
    """Tell a list over the whole file from one object a line, by the content."""
    skipped: list[str] = []
    for line in lines:
        if line.strip():
            second = next(lines, None)
            rest = lines if second is None else chain([second], lines)
            if _is_whole_file(line, second):
                yield from _list(file, "".join(chain(skipped, [line], rest)))
            else:
                yield from _json_lines(chain([line], rest), len(skipped) + 1)
            return
        skipped.append(line)


def _is_whole_file(first: str, second: str | None) -> bool:
    """Tell whether a file with these first lines is one JSON value rather than one value a line."""
    start = first.lstrip()[:1]
    if start not in "[{" or (start == "{" and second is None):
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return start == "[" or first.strip() == "{"
    return second is None


def _json_lines(lines: Iterator[str], first: int) -> Iterator[Record]:
    for number, line in enumerate(lines, first):
        text = line.strip()
        if text:
            yield _record(number, text)


def _record(number: int, text: str) -> Record:
    try:
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError) as error:
        return _broken(number, error)
    if end != len(text):
        return Record(number, "", None, "broken JSON", f"something follows the object in column {end + 1}")
    return _checked_value(number, value, text)


def _broken(number: int, error: ValueError | RecursionError) -> Record:
    if isinstance(error, RecursionError):
        return Record(number, "", None, "JSON nested too deeply")
    if isinstance(error, _NotJson):
        return Record(number, "", None, "not strict JSON", str(error))
    if isinstance(error, json.JSONDecodeError):
        return Record(number, "", None, "broken JSON", f"{error.msg} in column {error.colno}")
    return Record(number, "", None, "broken JSON", str(error)[:100])


def _checked_value(number: int, value: Any, text: str) -> Record:
    if not isinstance(value, dict):
        return Record(number, "", None, "not a JSON object", f"it is {_json_name(value)}")
    return Record(number, text, value)


def _json_name(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _list(file: DataFile, text: str) -> Iterator[Record]:
    """Read a list of objects that fills the file; each element keeps its own text."""
    place = _skip(text, 0)
    if text[place] == "{":
        raise DataError(
            f"{file.name}: one JSON object over many lines", "a list of objects, or one object a line",
            "write the rows as a list: [ {…}, {…} ]",
        )  # fmt: skip
    place, line, counted = _skip(text, place + 1), 1, 0
    while text[place : place + 1] != "]":
        line, counted = line + _breaks(text, counted, place), place
        record, place = _element(file, text, place, line)
        yield record
    if text[place + 1 :].strip():
        raise DataError(f"{file.name}: text after the end of the list", "nothing after the last ]")


def _element(file: DataFile, text: str, place: int, line: int) -> tuple[Record, int]:
    """Read one element; return it and where the next one (or the closing bracket) stands."""
    try:
        value, end = _DECODER.raw_decode(text, place)
        record = _checked_value(line, value, _AROUND_BREAK.sub(" ", text[place:end]))
    except _NotJson as error:
        record, end = _broken(line, error), _LENIENT.raw_decode(text, place)[1]
    except RecursionError as error:
        raise DataError(f"{file.name}:{line}: nested too deeply", "rows of ordinary depth") from error
    except ValueError as error:
        raise _list_broken(file, line, error) from error
    return record, _after_element(file, text, end)


def _after_element(file: DataFile, text: str, end: int) -> int:
    """Step over a comma; return where the next element or the closing bracket stands."""
    place = _skip(text, end)
    if text[place : place + 1] == ",":
        return _skip(text, place + 1)
    if text[place : place + 1] != "]":
        line = _breaks(text, 0, place) + 1
        what = "the list never ends" if place >= len(text) else f"{text[place : place + 20]!r} after an element"
        raise DataError(f"{file.name}:{line}: {what}", "a comma or ]", "copy the file again, or mend it there")
    return place


def _skip(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _breaks(text: str, start: int, end: int) -> int:
    """Count line ends of any kind between two places."""
    part = text[start:end]
    return part.count("\n") + part.count("\r") - part.count("\r\n")


def _list_broken(file: DataFile, line: int, error: ValueError) -> DataError:
    if isinstance(error, json.JSONDecodeError):
        found = f"{file.name}:{error.lineno}: broken JSON ({error.msg} in column {error.colno})"
        return DataError(found, "a list of objects", "mend that line; or write one object a line (.jsonl)")
    return DataError(f"{file.name}:{line}: broken JSON ({str(error)[:100]})", "a list of objects")
