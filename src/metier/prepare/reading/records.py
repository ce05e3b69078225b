"""Reads the records of a file, whatever it is: one small reader for each way in which bytes are laid out."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from metier.prepare.reading.column_store import columns
from metier.prepare.reading.delimited import delimited
from metier.prepare.reading.document import document
from metier.prepare.reading.json_rows import json_rows
from metier.prepare.reading.mail import mail
from metier.prepare.reading.markup import markup
from metier.prepare.reading.part import DataFile, Part
from metier.prepare.reading.record import Record
from metier.prepare.reading.settings import ReadSettings
from metier.prepare.reading.stream import open_text
from metier.prepare.reading.workbook import workbook

MILLION = 1 << 20
_FEWEST_GROUPS = 10
"""Documents that can be dealt out to three splits whole."""


class _How(NamedTuple):
    """What is the same for all parts of a file. `alone`: too few documents to be divided whole."""

    piece: str | None
    encoding: str
    alone: bool


def records(file: DataFile, encoding: str, settings: ReadSettings, report: Callable[[int], None]) -> Iterator[Record]:
    """Yield every record of a file, in order.

    Args:
        file: what to read.
        encoding: `prepare.read.encoding`.
        settings: how.
        report: called with the number of bytes read, for a progress bar.

    Raises:
        DataError: the file as a whole cannot be read: wrong encoding, damaged, a list that never ends …
        MissingExtraError: a library that this kind of file needs is not installed.
    """
    how = _How(file.piece, encoding, len(file.parts) < _FEWEST_GROUPS)
    for part in file.parts:
        found = _records(part, settings, how, report)
        yield from found if len(file.parts) == 1 else (record._replace(file=part.name) for record in found)


def _records(part: Part, settings: ReadSettings, how: _How, report: Callable[[int], None]) -> Iterator[Record]:
    longest = settings.longest * MILLION
    if part.layout in ("json", "csv"):
        with open_text(part, how.encoding, report) as stream:
            if part.layout == "json":
                yield from json_rows(part.name, stream, longest=longest, piece=how.piece)
            else:
                yield from delimited(part.name, stream, header=settings.header, longest=longest)
    elif part.layout in ("parquet", "arrow"):
        yield from columns(part, report)
    elif part.layout == "workbook":
        yield from workbook(part, report, header=settings.header, piece=how.piece)
    elif part.layout == "xml":
        yield from markup(part, report)
    elif part.layout == "mail":
        yield from mail(part, report, longest=longest, speakers=bool(settings.ours))
    else:
        yield from document(part, how.encoding, report, settings.chunk, alone=how.alone)
