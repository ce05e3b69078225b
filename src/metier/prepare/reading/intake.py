"""Turns the records of one file into candidates: rows that may go on, or `Dropped` with a reason."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

from metier.core.errors import DataError
from metier.core.types import Dropped, Row
from metier.prepare.candidate import Candidate
from metier.prepare.reading.gather import gathered
from metier.prepare.reading.part import DataFile
from metier.prepare.reading.record import Record
from metier.prepare.reading.records import records
from metier.prepare.settings import PrepareSettings
from metier.text import wrapping
from metier.text.builders import identity
from metier.text.formats import SHARED_ROLES, Recognised, recognise, to_rows
from metier.text.formats.foreign.registry import FOREIGN

_SAMPLE_RECORDS = 1000
_SAMPLE_CHARACTERS = 1 << 24
_FORMULA = re.compile(r"=\s*[A-Z][A-Z0-9.]*\(|=\s*\$?[A-Z]{1,3}\$?\d+\b")
"""How a cell begins whose formula was exported instead of its value: `=CONCAT(`, `=B2`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """A file whose format is known and whose records are about to be read, once. `unwrapping`: what is taken off."""

    file: DataFile
    recognised: Recognised
    items: Iterator[Candidate | Dropped]
    unwrapping: str = ""


def open_file(
    file: DataFile, settings: PrepareSettings, *, spared: Collection[str] = (), report: Callable[[int], None]
) -> Intake:
    """Read the first records of a file, recognise its format and return the rest as it is read.

    Args:
        file: what to read.
        settings: `format`, `columns`, `read` and `most_bad_share` matter here.
        spared: sources and row ids that `prepare.keep` names.
        report: called with the number of bytes read.

    Raises:
        DataError: no record, none that can be read, no known format; while reading: too many unusable rows.
    """
    stream = records(file, settings.read.encoding, settings.read, report)
    sample = _sample(stream)
    usable = [record.value for record in sample if record.value is not None]
    if not sample:
        raise DataError(f"{file.name}: no rows", "at least one")
    if not usable:
        raise _unreadable(file, sample)
    wanted = file.own.format if file.own and file.own.format != "auto" else settings.format
    named = {**settings.columns, **(file.own.columns if file.own else {})}
    recognised = recognise(usable, columns=_present(named, usable), wanted=wanted, where=file.name)
    found = _wrapped(recognised, usable) if settings.read.unwrap else ()
    whole = gathered(chain(sample, stream), recognised, settings.read.ours, file.name)
    items = _candidates(_Reading(file, recognised, found, settings.most_bad_share), whole)
    return Intake(
        file=file,
        recognised=recognised,
        items=_sparing(items, spared) if spared else items,
        unwrapping=f"; taken off: {', '.join(found)}" if found else "",
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is known of a file before its rows are read; `wraps` are foreign templates to take off."""

    file: DataFile
    recognised: Recognised
    wraps: tuple[str, ...]
    most_bad_share: float


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
    if recognised.format in ("turns", "tree", "tree-pairs", "label", "score"):
        return ()
    rows = (row for value in usable for row in to_rows(value, recognised, source="sample"))
    return wrapping.found([row for row in rows if not isinstance(row, Dropped)])


def _sparing(items: Iterable[Candidate | Dropped], spared: Collection[str]) -> Iterator[Candidate | Dropped]:
    """Mark the rows that no rule may change or drop."""
    for item in items:
        if isinstance(item, Candidate) and (item.row.source in spared or item.row.id in spared):
            yield item._replace(spared=True)
        else:
            yield item


def _present(columns: Mapping[str, str], values: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Leave out a group, slice, weight … that this file lacks: a test file often has only the needed columns."""
    names = {name for value in values for name in value}
    return {role: name for role, name in columns.items() if name in names or role not in SHARED_ROLES}


def _unreadable(file: DataFile, sample: list[Record]) -> DataError:
    first = sample[0]
    wanted = "one JSON object a line, or one list of objects" if file.layout == "json" else "rows under a header"
    counted = f"none of the first {len(sample)} rows can be read" if len(sample) > 1 else "its only row cannot be read"
    where = f"{first.file or file.name}:{first.line}"
    return DataError(f"{where}: {first.problem} ({first.detail or 'whole line'}); {counted}", wanted)


def _candidates(reading: _Reading, stream: Iterable[Record]) -> Iterator[Candidate | Dropped]:
    """Yield every record as candidates or a drop; refuse the file when too many are drops."""
    seen, bad, first = 0, Counter[str](), {}
    for record in stream:
        for item in _items(reading, record):
            seen += 1
            if isinstance(item, Dropped):
                bad[item.reason] += 1
                first.setdefault(item.reason, item)
            yield item
    if bad.total() > reading.most_bad_share * seen or bad.total() == seen:
        raise _too_many_bad(reading.file.name, seen, bad, first)


def _items(reading: _Reading, record: Record) -> Iterator[Candidate | Dropped]:
    """Yield what one record holds: one row, or several. Rows that are not what was read have no record of their own."""
    source = f"{record.file or reading.file.name}:{record.line}"
    if record.value is None:
        yield Dropped(source=source, reason=record.problem, detail=record.detail)
        return
    recognised = reading.recognised
    formula = _formula(record.value, recognised) if reading.file.layout == "csv" else None
    as_read = recognised.format not in FOREIGN and not record.file
    for row in to_rows(record.value, recognised, source=source):
        if isinstance(row, Dropped):
            yield row
            continue
        bare = _unwrapped(row, reading.wraps)
        if isinstance(bare, Dropped):
            yield bare
        elif bare is row and as_read:
            candidate = Candidate(row, record.text, record.value, reading.file.role)
            yield (
                candidate.flagged("read", "a spreadsheet's formula instead of its value", formula)
                if formula
                else candidate
            )
        else:
            yield Candidate(bare, "", {}, reading.file.role)


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


def _too_many_bad(name: str, seen: int, bad: Counter[str], first: Mapping[str, Dropped]) -> DataError:
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
