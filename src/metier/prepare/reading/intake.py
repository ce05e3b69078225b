"""Opens a file, in pieces, and turns the records of a piece into candidates: rows that may go on, or `Dropped`."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from typing import Any

from metier.core.errors import DataError
from metier.core.types import Dropped, Row
from metier.prepare.candidate import Candidate
from metier.prepare.reading.composed import Named, is_there, plain, require, with_made
from metier.prepare.reading.gather import GATHERED, gathered
from metier.prepare.reading.part import DataFile
from metier.prepare.reading.pieces import Piece, Reading, can_be_cut, cut, grouped
from metier.prepare.reading.record import Record
from metier.prepare.reading.records import MILLION, records
from metier.prepare.settings import PrepareSettings
from metier.text import wrapping
from metier.text.builders import identity
from metier.text.formats import SHARED_ROLES, Recognised, recognise, to_rows
from metier.text.formats.foreign.registry import FOREIGN

_SAMPLE_RECORDS = 1000
_SAMPLE_CHARACTERS = 1 << 24
_WANTED = {
    "json": "one JSON object a line, or one list of objects",
    "csv": "rows under a header",
    "mail": "messages with text",
}
_FORMULA = re.compile(r"=\s*[A-Z][A-Z0-9.]*\(|=\s*\$?[A-Z]{1,3}\$?\d+\b")
"""How a cell begins whose formula was exported instead of its value: `=CONCAT(`, `=B2`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """A file whose format is known and whose `pieces` are about to be read, once. `unwrapping`: what is taken off."""

    file: DataFile
    recognised: Recognised
    pieces: Iterator[Piece]
    unwrapping: str = ""


@dataclass(slots=True)
class Books:
    """How many rows a file, or a piece of one, has given; the unusable ones by reason, and the first of each."""

    seen: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    first: dict[str, Dropped] = field(default_factory=dict)

    def add(self, item: Candidate | Dropped) -> None:
        """Count one row."""
        self.seen += 1
        if isinstance(item, Dropped):
            self.bad[item.reason] += 1
            self.first.setdefault(item.reason, item)

    def join(self, later: "Books") -> None:
        """Add what was counted in the piece behind."""
        self.seen += later.seen
        self.bad += later.bad
        self.first = later.first | self.first

    def require_usable(self, name: str, most_bad_share: float) -> None:
        """Refuse a file of which too many rows cannot be used.

        Raises:
            DataError: with the three most frequent reasons.
        """
        if self.bad.total() > most_bad_share * self.seen or self.bad.total() == self.seen:
            raise _too_many_bad(name, self)


def open_file(file: DataFile, settings: PrepareSettings, *, report: Callable[[int], None]) -> Intake:
    """Read the first records of a file, recognise its format and return the file in pieces.

    Args:
        file: what to read.
        settings: `format`, `columns` and `read` matter here.
        report: called with the number of bytes read.

    Raises:
        DataError: no record, none that can be read, no known format.
    """
    cuttable = can_be_cut(file, settings.read.encoding, settings.read)
    stream = records(file, settings.read.encoding, settings.read, _unheard if cuttable else report)
    sample = _sample(stream)
    usable = [record.value for record in sample if record.value is not None]
    if not sample:
        raise DataError(f"{file.name}: no rows", "at least one")
    if not usable:
        raise _unreadable(file, sample)
    wanted = file.own.format if file.own and file.own.format != "auto" else settings.format
    columns, made = _columns({**settings.columns, **(file.own.columns if file.own else {})}, usable, file.name)
    composed = partial(with_made, made=made, columns=frozenset(columns.values()))
    sample_composed = [composed(record) for record in sample] if made else sample
    usable = [record.value for record in sample_composed if record.value is not None]
    if not usable:
        raise _unreadable(file, sample_composed)
    recognised = recognise(usable, columns=columns, wanted=wanted, where=file.name)
    found = _wrapped(recognised, usable) if settings.read.unwrap else ()
    reading = Reading(
        name=file.name, role=file.role, layout=file.layout, recognised=recognised, wraps=found,
        longest=settings.read.longest * MILLION, made=made,
    )  # fmt: skip
    if cuttable and recognised.format not in GATHERED:
        pieces = cut(file.parts[0], reading, report)
    else:
        whole = records(file, settings.read.encoding, settings.read, report) if cuttable else chain(sample, stream)
        pieces = grouped(gathered(map(composed, whole), recognised, settings.read.ours, file.name), reading)
    unwrapping = f"; taken off: {', '.join(found)}" if found else ""
    return Intake(file=file, recognised=recognised, pieces=pieces, unwrapping=unwrapping)


def _unheard(count: int) -> None:
    """Pass by what is only looked at, and read again."""


def rows_of(piece: Piece, spared: Collection[str] = ()) -> Iterator[Candidate | Dropped]:
    """Yield the rows of a piece, or a drop for what is none.

    Args:
        piece: of a file that has been opened.
        spared: sources and row ids that `prepare.keep` names.

    Raises:
        DataError: bytes are not UTF-8.
    """
    for record in piece.records():
        for item in _items(piece.reading, record):
            if spared and isinstance(item, Candidate) and (item.row.source in spared or item.row.id in spared):
                yield item._replace(spared=True)
            else:
                yield item


def _sample(stream: Iterator[Record]) -> list[Record]:
    """Return the first records, fewer where they are large."""
    sample: list[Record] = []
    size = 0
    for record in islice(stream, _SAMPLE_RECORDS):
        sample.append(record)
        size += len(record.text)
        if size > _SAMPLE_CHARACTERS:
            break
    return sample


def _wrapped(recognised: Recognised, usable: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return the foreign templates that the looked-at rows carry."""
    if recognised.format in (*GATHERED, "label", "score"):
        return ()
    rows = (row for value in usable for row in to_rows(value, recognised, source="sample"))
    return wrapping.found([row for row in rows if not isinstance(row, Dropped)])


def _columns(
    named: Named, values: Sequence[Mapping[str, Any]], where: str
) -> tuple[dict[str, str], tuple[tuple[str, ...], ...]]:
    """Return which column is used as what, and of what those are made that are not there as they stand.

    A group, slice, weight … that this file lacks is left out: a test file often has only the needed columns.
    """
    present = {role: said for role, said in named.items() if role not in SHARED_ROLES or is_there(said, values)}
    columns, made = plain(present, {name for value in values for name in value})
    require(made, values, where)
    return columns, made


def _unreadable(file: DataFile, sample: list[Record]) -> DataError:
    first = sample[0]
    wanted = _WANTED.get(file.layout, "rows that can be read")
    counted = f"none of the first {len(sample)} rows can be read" if len(sample) > 1 else "its only row cannot be read"
    where = f"{first.file or file.name}:{first.line}"
    found = f"{where}: {first.problem} ({first.detail or 'all of it'}); {counted}"
    return DataError(found, wanted, "look at the file there; mend it, or name another one in data")


def _items(reading: Reading, record: Record) -> Iterator[Candidate | Dropped]:
    """Yield what one record holds: one row, or several. Rows that are not what was read have no record of their own."""
    source = f"{record.file or reading.name}:{record.line}"
    if record.value is None:
        yield Dropped(source=source, reason=record.problem, detail=record.detail)
        return
    recognised = reading.recognised
    formula = _formula(record.value, recognised) if reading.layout == "csv" else None
    as_read = recognised.format not in FOREIGN and not record.file
    for row in to_rows(record.value, recognised, source=source):
        if isinstance(row, Dropped):
            yield row
            continue
        bare = _unwrapped(row, reading.wraps)
        if isinstance(bare, Dropped):
            yield bare
        elif bare is row and as_read:
            candidate = Candidate(row, record.text, record.value, reading.role)
            yield (
                candidate.flagged("read", "a spreadsheet's formula instead of its value", formula)
                if formula
                else candidate
            )
        else:
            yield Candidate(bare, "", {}, reading.role)


def _unwrapped(row: Row, wraps: Collection[str]) -> Row | Dropped:
    """Return the row without foreign templates; the row itself when it carries none."""
    if not wraps:
        return row
    try:
        bare = wrapping.unwrapped(row, wraps)
        return row if bare is row else replace(bare, id=identity(bare))
    except wrapping.UnusableRow as error:
        return Dropped(source=row.source, reason=error.reason, detail=error.detail)


def _formula(value: Mapping[str, Any], recognised: Recognised) -> str | None:
    used = (value.get(name) for name in recognised.columns.values())
    return next((cell[:60] for cell in used if isinstance(cell, str) and _FORMULA.match(cell)), None)


def _too_many_bad(name: str, books: Books) -> DataError:
    seen, bad, first = books.seen, books.bad, books.first
    listed = "; ".join(
        f"{count:,} × {reason}, first at {first[reason].source}"
        + (f" ({first[reason].detail})" if first[reason].detail else "")
        for reason, count in bad.most_common(3)
    )
    return DataError(
        f"{name}: {bad.total():,} of {seen:,} rows cannot be used: {listed}",
        "rows that can be learnt from",
        "mend them, or allow a larger prepare.most_bad_share" if bad.total() < seen else "mend the file",
    )
