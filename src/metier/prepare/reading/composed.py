"""Columns that are made of others: several put together (`[subject, body]`), or what stands inside one (`a.b`)."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from metier.core.errors import DataError
from metier.core.table import nearest
from metier.prepare.reading.record import Record, unusable

Named = Mapping[str, str | Sequence[str]]
"""Role -> the column that is meant, the way to it, or several of these."""

_MISSING = object()


def plain(named: Named, names: Collection[str]) -> tuple[dict[str, str], tuple[tuple[str, ...], ...]]:
    """Tell columns that are there from those that have to be made.

    Args:
        named: as the user names them.
        names: the columns of the file.

    Returns:
        Role -> the column's name, made or not; and of what each made one is made.
    """
    columns: dict[str, str] = {}
    made: list[tuple[str, ...]] = []
    for role, said in named.items():
        ways = (said,) if isinstance(said, str) else tuple(said)
        columns[role] = " + ".join(ways)
        if len(ways) > 1 or (ways[0] not in names and "." in ways[0]):
            made.append(ways)
    return columns, tuple(dict.fromkeys(made))


def is_there(said: str | Sequence[str], values: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether some record has something where a role is said to be."""
    ways = (said,) if isinstance(said, str) else said
    return all(any(_at(value, way) is not _MISSING for value in values) for way in ways)


def require(made: Iterable[Sequence[str]], values: Sequence[Mapping[str, Any]], where: str) -> None:
    """Refuse what is to be made of a column that no record has.

    Raises:
        DataError: with the columns that there are where the way ends.
    """
    for way in (way for ways in made for way in ways):
        if all(_at(value, way) is _MISSING for value in values):
            raise DataError(f"{where}: nothing under {way!r}, which prepare.columns names", _there(values, way))


def with_made(record: Record, made: Sequence[Sequence[str]], columns: Collection[str]) -> Record:
    """Return a record with the columns that are made, without those that they are made of and nothing else is.

    Args:
        record: as it was read.
        made: of what each is made.
        columns: the names of all columns that are used.
    """
    if record.value is None or not made:
        return record
    value = dict(record.value)
    for ways in made:
        found = [(way, inner) for way in ways if (inner := _at(record.value, way)) is not _MISSING]
        if len(ways) == 1:
            value |= dict(found)
            continue
        parts = [_text(inner) for _, inner in found]
        if None in parts:
            way, inner = found[parts.index(None)]
            return unusable(record.line, f"{way!r} is not text", f"it is {type(inner).__name__}")._replace(
                file=record.file
            )
        value[" + ".join(ways)] = "\n\n".join(part for part in parts if part)
    used_up = {way for ways in made for way in ways} - set(columns)
    kept = {name: inner for name, inner in value.items() if name not in used_up}
    return record._replace(value=kept, text=json.dumps(kept, ensure_ascii=False))


def _at(value: Any, way: str) -> Any:
    """Return what stands under a column's name, or at the end of a way through objects and lists."""
    if isinstance(value, Mapping) and way in value:
        return value[way]
    for step in way.split("."):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.lstrip("-").isdigit() and -len(value) <= int(step) < len(value):
            value = value[int(step)]
        else:
            return _MISSING
    return value


def _text(value: Any) -> str | None:
    """Return a cell as text, a list of texts as one; None when it is neither."""
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return "\n".join(part.strip() for part in value if part.strip())
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value).strip()
    return None


def _there(values: Sequence[Mapping[str, Any]], way: str) -> str:
    """List what there is where a way ends."""
    steps = way.split(".")
    for known in range(len(steps) - 1, -1, -1):
        inner = values if known == 0 else [_at(value, ".".join(steps[:known])) for value in values]
        names = list(dict.fromkeys(name for each in inner if isinstance(each, Mapping) for name in each))
        if names:
            before = "".join(f"{step}." for step in steps[:known])
            close = nearest(steps[known], names)
            listed = ", ".join(repr(before + str(name)) for name in names[:12])
            return f"one of {listed}" + (f"; did you mean {before + close!r}?" if close else "")
    return "a column of the file"
