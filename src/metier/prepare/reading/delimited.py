"""Reads records out of CSV and TSV; the first line names the columns unless the user says that it does not."""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

from metier.core.errors import DataError
from metier.prepare.reading.record import Record, unusable
from metier.prepare.reading.sniff import suffix_of
from metier.prepare.reading.stream import WRONG_BYTE, wrong_bytes

_DELIMITERS = (",", "\t", ";", "|")


def delimited(name: str, stream: Iterator[str], *, header: bool, longest: int) -> Iterator[Record]:
    """Yield the rows of a CSV file. The delimiter is the one that the first line holds most of.

    Args:
        name: of the file, for messages and for its suffix.
        stream: its lines.
        header: whether the first line names the columns.
        longest: most characters of a field.

    Raises:
        DataError: two columns bear one name, or a quotation mark is never closed.
    """
    lines = _checked(name, stream)
    before, first = next(((place, line) for place, line in enumerate(lines) if line.strip("\ufeff\r\n")), (0, ""))
    delimiter = max(_DELIMITERS, key=first.count) if suffix_of(name) != ".tsv" else "\t"
    csv.field_size_limit(longest)
    reader = csv.reader(chain([first.removeprefix("\ufeff")], lines), delimiter=delimiter, strict=True)
    names: list[str] = []
    while True:
        line = before + reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _not_csv(name, line, error, is_header=header and not names)
            continue
        if not names:
            names = header_of(name, fields if header else [""] * len(fields))
            if header:
                continue
        if fields:
            yield row_of(line, names, fields)


def _checked(name: str, lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if not line.isascii() and WRONG_BYTE.search(line):
            raise wrong_bytes(name, number, line)
        yield line


def _not_csv(name: str, line: int, error: csv.Error, *, is_header: bool) -> Record:
    """Turn a fault into a dropped record, unless it may have swallowed other rows."""
    if "unexpected end of data" in str(error) or is_header:
        raise DataError(
            f"{name}:{line}: a quotation mark opened there is never closed" if not is_header else
            f"{name}:{line}: the header cannot be read ({error})",
            "CSV with every quoted field closed", "double the quotation marks inside fields",
        ) from error  # fmt: skip
    return unusable(line, "not CSV", str(error))


def header_of(name: str, fields: Sequence[str]) -> list[str]:
    """Return the names of the columns; those without one are called by their place.

    Raises:
        DataError: two bear one name.
    """
    names = [field.strip() or f"column {place}" for place, field in enumerate(fields, 1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{name}: {len(twice)} columns stand there twice: {twice[0]!r}", "one name a column",
            "if its first row is no header: prepare.read.header: false",
        )  # fmt: skip
    return names


def row_of(line: int, header: Sequence[str], fields: Sequence[object]) -> Record:
    """Return one row of a table as a record."""
    if len(fields) != len(header):
        return unusable(line, "wrong number of fields", f"{len(fields)}, the header has {len(header)}")
    value = dict(zip(header, fields, strict=True))
    if any(isinstance(field, str) and "\0" in field for field in fields):
        return unusable(line, "a NUL byte in a field")
    return Record(line, json.dumps(value, ensure_ascii=False), value)
