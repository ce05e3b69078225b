"""Reads records out of Parquet and Arrow (Feather, IPC files and streams)."""

import json
import math
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as arrow_parquet

from metier.core.errors import DataError
from metier.prepare.reading.part import Part
from metier.prepare.reading.record import Record, unusable
from metier.prepare.reading.stream import small_copy

_BATCH_ROWS = 1024
_MOST_IN_MEMORY = 1 << 30


def columns(part: Part, report: Callable[[int], None]) -> Iterator[Record]:
    """Yield the rows of a Parquet or Arrow file, numbered from 1.

    A column store fills every key that any row has into all rows, as null. So nulls inside nested columns (messages,
    tools) are taken out again: absent and null cannot be told apart there. Tools kept as JSON text are left alone.
    NaN, which data frames write for a missing number, is read as null.

    Raises:
        DataError: the file is damaged.
    """
    number = 0
    try:
        for batch in _parquet(part, report) if part.layout == "parquet" else _arrow(part, report):
            batch.validate(full=True)  # offsets and UTF-8: a damaged file must not lead outside its buffers
            for value in batch.to_pylist():
                number += 1
                yield _row(number, value)
    except DataError:
        raise
    except (arrow.ArrowException, OSError, ValueError) as error:
        name = part.layout.capitalize()
        raise DataError(f"{part.name}: damaged {name} data ({error})", "a whole file", "write it again") from error


def _parquet(part: Part, report: Callable[[int], None]) -> Iterator[arrow.RecordBatch]:
    table = arrow_parquet.ParquetFile(small_copy(part, lambda count: None, most=_MOST_IN_MEMORY))
    rows = max(1, table.metadata.num_rows)
    for batch in table.iter_batches(_BATCH_ROWS):
        yield batch
        report(part.bytes * batch.num_rows // rows)


def _arrow(part: Part, report: Callable[[int], None]) -> Iterator[arrow.RecordBatch]:
    source = small_copy(part, report, most=_MOST_IN_MEMORY)
    opened = arrow.memory_map(str(source)) if isinstance(source, Path) else arrow.PythonFile(source, mode="r")
    with opened as file:
        is_file = file.read(6) == b"ARROW1"
        file.seek(0)
        reader = arrow.ipc.open_file(file) if is_file else arrow.ipc.open_stream(file)
        batches = map(reader.get_batch, range(reader.num_record_batches)) if is_file else iter(reader)
        for batch in batches:
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                yield batch.slice(start, _BATCH_ROWS)


def _row(number: int, value: dict[str, Any]) -> Record:
    row = {name: plain(cell) for name, cell in value.items()}
    try:
        return Record(number, json.dumps(row, ensure_ascii=False, allow_nan=False, default=_unknown), row)
    except (TypeError, ValueError) as error:
        return unusable(number, "a cell that JSON cannot hold", str(error))


def plain(value: Any) -> Any:
    """Return a cell as JSON holds it, without the nulls that a column store fills in."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return str(value) if isinstance(value, datetime | date | time | timedelta | Decimal) else value


def _unknown(value: Any) -> Any:
    raise TypeError(f"a value of type {type(value).__name__}")
