"""How a row that a program made is written for the user: in the columns of the project, and marked as what it is."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from metier.core.types import Row
from metier.text.canonical import AS, record_of

Columns = Mapping[Any, str | Sequence[str]]
"""`prepare.columns`: role -> column, or several that are put together."""


def made_line(row: Row, said: Mapping[str, Any], origin: Sequence[str], columns: Columns) -> str:
    """Return one JSON line.

    Args:
        row: what was made; whatever it says of itself, it is written as synthetic.
        said: how it was made (method, model …).
        origin: the `file:line` of the rows it was made from.
        columns: `prepare.columns`, so that it is read as the project's other files are.
    """
    record = record_of(replace(row, synthetic=True))
    record.pop(AS)
    record.pop("synthetic")
    named = {name: value for role, told in record.items() for name, value in _as_named(columns.get(role, role), told)}
    marked = {**named, **dict(_as_named(columns.get("synthetic", "synthetic"), True)), **said, "origin": list(origin)}
    return json.dumps(marked, ensure_ascii=False) + "\n"


def _as_named(column: str | Sequence[str], value: Any) -> Iterator[tuple[str, Any]]:
    """Yield where a value goes; of columns that are put together it fills the first, and the others are empty."""
    first, *others = (column,) if isinstance(column, str) else column
    yield first, value
    yield from ((other, "") for other in others)
