"""Finds the rows in one JSON object that fills its file: a list under a key, records under their ids, or one record."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from metier.core.errors import DataError
from metier.core.table import nearest
from metier.prepare.reading.record import Record, unusable
from metier.prepare.reading.split_names import SPLITS
from metier.prepare.reading.strict_json import DECODER, json_name

USUAL = (
    "data",
    "rows",
    "examples",
    "items",
    "records",
    "train",
    "instances",
    "results",
    "conversations",
    "traces",
    "observations",
    "tickets",
    "issues",
    "cases",
    "entries",
    "documents",
    "samples",
)
"""Keys under which rows usually stand."""

_WHOLE = {"resourceSpans", "messages", "conversations", "instruction", "prompt"}
"""Keys of an object that is a record itself."""

_TALKS = {"conversation_parts", "messages", "turns", "conversations", "source"}
"""Keys of a conversation that holds its turns."""


def rows_of(name: str, text: str, piece: str | None) -> Iterator[Record]:
    """Yield the records of an object that fills its file.

    Args:
        name: of the file, for messages.
        text: its whole text.
        piece: the key under which they stand (`a.b` for one inside another); None: found.

    Raises:
        DataError: it is broken, or where the rows stand is open.
    """
    try:
        value = DECODER.decode(text.strip("\ufeff \t\r\n"))
    except (ValueError, RecursionError) as error:
        raise _not_one(name, error) from error
    if piece is not None:
        yield from _listed(name, _under(name, value, piece))
        return
    if not isinstance(value, dict):
        raise DataError(f"{name}: {json_name(value)}", "an object with rows in it, or a list of objects")
    if _is_record(value):
        yield _record(1, value)
        return
    found = _rows_under(value)
    if found is None:
        raise _nothing(name, value)
    yield from _listed(name, found)


def holds_rows(value: Any) -> bool:
    """Tell whether an object is not a record itself but holds them under one of the usual keys."""
    return isinstance(value, dict) and not _is_record(value) and any(_is_rows(value.get(key)) for key in USUAL)


def _is_record(value: Mapping[str, Any]) -> bool:
    """Tell whether an object is a record itself; a list of whole conversations is none (Intercom's exports)."""
    listed = value.get("conversations")
    whole = isinstance(listed, list) and any(isinstance(each, dict) and _TALKS & each.keys() for each in listed[:9])
    return bool(_WHOLE & value.keys() - ({"conversations"} if whole else set()))


def _not_one(name: str, error: ValueError | RecursionError) -> DataError:
    if isinstance(error, json.JSONDecodeError):
        extra = "; objects over several lines each are no JSON Lines" if error.msg == "Extra data" else ""
        found = f"{name}:{error.lineno}: broken JSON ({error.msg} in column {error.colno}){extra}"
    else:
        found = f"{name}: broken JSON ({str(error)[:100]})"
    return DataError(found, "a list of objects, or one object a line", "write the rows as a list: [ {…}, {…} ]")


def _under(name: str, value: Any, piece: str) -> Any:
    for key in piece.split("."):
        if not isinstance(value, dict) or key not in value:
            keys = [str(key) for key in value] if isinstance(value, dict) else []
            close = nearest(key, keys)
            raise DataError(
                f"{name}: no {piece!r} in it", f"one of {', '.join(keys[:12]) or 'its keys'}",
                f"did you mean '{close}'?" if close else "",
            )  # fmt: skip
        value = value[key]
    return value


def _rows_under(value: Mapping[str, Any]) -> Any:
    """Return the one list of objects, or the object itself when its values are records of one kind."""
    lists = {key: inner for key, inner in value.items() if _is_rows(inner)}
    usual = [key for key in USUAL if key in lists]
    if len(lists) == 1 or len(usual) == 1:
        return lists[usual[0]] if usual else next(iter(lists.values()))
    records = list(value.values())
    if len(records) > 1 and not lists and all(isinstance(inner, dict) for inner in records):
        shared = set.intersection(*(set(inner) for inner in records[:100]))
        return value if shared else None
    return None


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value[:100])


def _listed(name: str, found: Any) -> Iterator[Record]:
    """Yield what stands in a list, or under the keys of an object, which are kept as `key`."""
    if isinstance(found, dict):
        for number, (key, inner) in enumerate(found.items(), 1):
            row = {"key": key} | inner if isinstance(inner, dict) else {"key": key, "value": inner}
            yield _record(number, row)
        return
    if not isinstance(found, list):
        raise DataError(f"{name}: {json_name(found)} where rows should be", "a list of objects")
    for number, each in enumerate(found, 1):
        if isinstance(each, list) and each and all(isinstance(cell, str | int | float) for cell in each):
            each = {f"column {place}": cell for place, cell in enumerate(each, 1)}  # noqa: PLW2901 - a row of a table
        yield _record(number, each)


def _record(number: int, value: Any) -> Record:
    if not isinstance(value, dict):
        return unusable(number, "not a JSON object", f"it is {json_name(value)}")
    return Record(number, json.dumps(value, ensure_ascii=False), value)


def _nothing(name: str, value: Mapping[str, Any]) -> DataError:
    keys = [str(key) for key in value]
    lists = [key for key in keys if isinstance(value[key], list) and value[key]]
    shown = ", ".join(keys[:8]) + (" …" if len(keys) > 8 else "")
    wanted = "a list of objects, or one object a line"
    if lists:
        found = f"{name}: one JSON object with {len(lists)} lists in it ({shown})"
        return DataError(found, wanted, f"say which, for example {_named_splits(name, lists)}")
    return DataError(
        f"{name}: one JSON object that holds no rows ({shown})", wanted, "write the rows as a list: [ {…}, {…} ]"
    )


def _named_splits(name: str, lists: list[str]) -> str:
    """Return what to write under `data`, with all three splits where the lists are called so."""
    called = {split: next((key for key in lists if key.lower() in words), None) for split, words in SPLITS.items()}
    if called["train"] is None or not (called["validation"] or called["test"]):
        return f"data.train: {name}#{called['train'] or lists[0]}"
    return f"data: {{{', '.join(f'{split}: {name}#{key}' for split, key in called.items() if key)}}}"
