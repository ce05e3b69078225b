"""Reads records out of tables: CSV and TSV by their header line, and Parquet."""

import csv
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from itertools import chain
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as arrow_parquet

from metier.core.errors import DataError
from metier.prepare.reading.files import DataFile
from metier.prepare.reading.record import Record

_BATCH_ROWS = 1024
_DELIMITERS = (",", "\t", ";", "|")


def delimited(file: DataFile, lines: Iterator[str]) -> Iterator[Record]:
    """Yield the rows of a CSV file; its first line names the columns. The delimiter is the one that the header holds.

    Raises:
        DataError: two columns bear one name, or a quotation mark is never closed.
    """
    before, header_line = next(((place, line) for place, line in enumerate(lines) if line.strip("\r\n")), (0, ""))
    delimiter = max(_DELIMITERS, key=header_line.count) if file.path.suffix.lower() != ".tsv" else "\t"
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(chain([header_line], lines), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        line = before + reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _not_csv(file, line, error, is_header=not header)
            continue
        if not header:
            header = _header(file, fields)
        elif fields:
            yield _row(line, header, fields)


def _not_csv(file: DataFile, line: int, error: csv.Error, *, is_header: bool) -> Record:
    """Turn a fault into a dropped record, unless it may have swallowed other rows."""
    if "unexpected end of data" in str(error) or is_header:
        raise DataError(
            f"{file.name}:{line}: a quotation mark opened there is never closed" if not is_header else
            f"{file.name}:{line}: the header cannot be read ({error})",
            "CSV with every quoted field closed", "double the quotation marks inside fields",
        ) from error  # fmt: skip
    return Record(line, "", None, "not CSV", str(error))


def _header(file: DataFile, fields: Sequence[str]) -> list[str]:
    names = [field.strip() or f"column {place}" for place, field in enumerate(fields, 1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{file.name}: {len(twice)} columns stand there twice: {twice[0]!r}", "one name a column")
    return names


def _row(line: int, header: Sequence[str], fields: Sequence[str]) -> Record:
    if len(fields) != len(header):
        return Record(line, "", None, "wrong number of fields", f"{len(fields)}, the header has {len(header)}")
    value = dict(zip(header, fields, strict=True))
    return Record(line, json.dumps(value, ensure_ascii=False), value)


def parquet(file: DataFile, report: Callable[[int], None]) -> Iterator[Record]:
    """Yield the rows of a Parquet file, numbered from 1.

    A column store fills every key that any row has into all rows, as null. So nulls inside nested columns (messages,
    tools) are taken out again: absent and null cannot be told apart there. Tools kept as JSON text are left alone.
    NaN, which data frames write for a missing number, is read as null.

    Raises:
        DataError: the file is damaged.
    """
    number = 0
    try:
        table = arrow_parquet.ParquetFile(file.path)
        rows = max(1, table.metadata.num_rows)
        for batch in table.iter_batches(_BATCH_ROWS):
            for value in batch.to_pylist():
                number += 1
                yield _parquet_row(number, value)
            report(file.bytes * batch.num_rows // rows)
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{file.name}: damaged Parquet data ({error})", "a whole file", "write it again") from error


def _parquet_row(number: int, value: dict[str, Any]) -> Record:
    row = {name: _without_nulls(cell) for name, cell in value.items()}
    try:
        return Record(number, json.dumps(row, ensure_ascii=False, allow_nan=False, default=_plain), row)
    except (TypeError, ValueError) as error:
        return Record(number, "", None, "a cell that JSON cannot hold", str(error))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return str(value) if isinstance(value, datetime | date | time | Decimal) else value


def _plain(value: Any) -> Any:
    raise TypeError(f"a value of type {type(value).__name__}")
