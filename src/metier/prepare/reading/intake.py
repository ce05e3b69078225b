"""Turns the records of one file into candidates: rows that may go on, or `Dropped` with a reason."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from metier.core.errors import DataError
from metier.core.types import Dropped
from metier.prepare.candidate import Candidate
from metier.prepare.reading.files import DataFile
from metier.prepare.reading.json_rows import records
from metier.prepare.reading.record import Record
from metier.prepare.settings import PrepareSettings
from metier.text.formats import SHARED_ROLES, Recognised, recognise, to_rows
from metier.text.formats.foreign.registry import FOREIGN

_SAMPLE_RECORDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """A file whose format is known and whose records are about to be read, once."""

    file: DataFile
    recognised: Recognised
    items: Iterator[Candidate | Dropped]


def open_file(
    file: DataFile, settings: PrepareSettings, *, spared: Collection[str] = (), report: Callable[[int], None]
) -> Intake:
    """Read the first records of a file, recognise its format and return the rest as it is read.

    Args:
        file: what to read.
        settings: `format`, `columns`, `encoding` and `most_bad_share` matter here.
        spared: sources and row ids that `prepare.keep` names.
        report: called with the number of bytes read.

    Raises:
        DataError: no record, none that can be read, no known format; while reading: too many unusable rows.
    """
    stream = records(file, settings.encoding, report)
    sample = list(islice(stream, _SAMPLE_RECORDS))
    usable = [record.value for record in sample if record.value is not None]
    if not sample:
        raise DataError(f"{file.name}: no rows", "at least one")
    if not usable:
        raise _unreadable(file, sample)
    recognised = recognise(usable, columns=_present(settings, usable), wanted=settings.format, where=file.name)
    items = _candidates(file, recognised, chain(sample, stream), settings)
    return Intake(file=file, recognised=recognised, items=_sparing(items, spared) if spared else items)


def _sparing(items: Iterable[Candidate | Dropped], spared: Collection[str]) -> Iterator[Candidate | Dropped]:
    """Mark the rows that no rule may change or drop."""
    for item in items:
        if isinstance(item, Candidate) and (item.row.source in spared or item.row.id in spared):
            yield item._replace(spared=True)
        else:
            yield item


def _present(settings: PrepareSettings, values: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Leave out a group, slice, weight … that this file lacks: a test file often has only the needed columns."""
    names = {name for value in values for name in value}
    return {role: name for role, name in settings.columns.items() if name in names or role not in SHARED_ROLES}


def _unreadable(file: DataFile, sample: list[Record]) -> DataError:
    first = sample[0]
    wanted = "one JSON object a line, or one list of objects" if file.layout == "json" else "rows under a header"
    counted = f"none of the first {len(sample)} rows can be read" if len(sample) > 1 else "its only row cannot be read"
    return DataError(f"{file.name}:{first.line}: {first.problem} ({first.detail or 'whole line'}); {counted}", wanted)


def _candidates(
    file: DataFile, recognised: Recognised, stream: Iterable[Record], settings: PrepareSettings
) -> Iterator[Candidate | Dropped]:
    """Yield every record as a candidate or a drop; refuse the file when too many are drops."""
    seen, bad, first = 0, Counter[str](), {}
    for record in stream:
        for item in _items(file, recognised, record):
            seen += 1
            if isinstance(item, Dropped):
                bad[item.reason] += 1
                first.setdefault(item.reason, item)
            yield item
    if bad.total() > settings.most_bad_share * seen or bad.total() == seen:
        raise _too_many_bad(file, seen, bad, first)


def _items(file: DataFile, recognised: Recognised, record: Record) -> Iterator[Candidate | Dropped]:
    """Yield what one record holds: one row, or several; those of a foreign format have no record of their own."""
    source = f"{file.name}:{record.line}"
    if record.value is None:
        yield Dropped(source=source, reason=record.problem, detail=record.detail)
        return
    text, value = ("", {}) if recognised.format in FOREIGN else (record.text, record.value)
    for row in to_rows(record.value, recognised, source=source):
        yield row if isinstance(row, Dropped) else Candidate(row, text, value, file.role)


def _too_many_bad(file: DataFile, seen: int, bad: Counter[str], first: Mapping[str, Dropped]) -> DataError:
    listed = "; ".join(
        f"{count:,} × {reason}, first at {first[reason].source}"
        + (f" ({first[reason].detail})" if first[reason].detail else "")
        for reason, count in bad.most_common(3)
    )
    return DataError(
        f"{file.name}: {bad.total():,} of {seen:,} rows cannot be used: {listed}",
        "rows that can be learnt from",
        "mend them, or allow a larger prepare.most_bad_share" if bad.total() < seen else "mend the file",
    )
