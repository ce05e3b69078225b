"""Puts conversations together that stand over many records: one turn a row, or one message of a tree."""

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from metier.core.errors import DataError
from metier.prepare.reading.record import Record, unusable
from metier.text.formats import Recognised
from metier.text.formats.foreign.turns import role_of
from metier.text.messages import UnusableRow

GATHERED = ("turns", "tree", "tree-pairs")
"""Formats whose records are pieces of conversations."""

_MOST = 1 << 29
"""Characters of all turns together: they may stand in any order, so they are held until the last one is read."""

_TIMES = (
    "time",
    "timestamp",
    "created_at",
    "created",
    "date",
    "sent_at",
    "turn",
    "turnnumber",
    "turn_number",
    "position",
)


def gathered(records: Iterable[Record], recognised: Recognised, ours: tuple[str, ...], name: str) -> Iterator[Record]:
    """Yield whole conversations for formats whose records are pieces of one; other records pass by.

    Args:
        records: of one file.
        recognised: its format.
        ours: `prepare.read.ours`.
        name: of the file, for messages.

    Raises:
        DataError: the file holds more than can be held.
    """
    if recognised.format == "turns":
        yield from _conversations(records, recognised, {one.strip().lower() for one in ours}, name)
    elif recognised.format in ("tree", "tree-pairs"):
        yield from _trees(records, name)
    else:
        yield from records


def _conversations(records: Iterable[Record], recognised: Recognised, ours: set[str], name: str) -> Iterator[Record]:
    """Collect turns by conversation, in the order of their time or number, or as they stand."""
    columns, threads, size = recognised.columns, dict[str, list[tuple[Any, Record]]](), 0
    for record in records:
        if record.value is None:
            yield record
            continue
        size += len(record.text)
        _require_room(size, name)
        threads.setdefault(str(record.value.get(columns["thread"])), []).append((_when(record.value), record))
    for thread, turns in threads.items():
        if all(when is not None for when, _ in turns):
            turns.sort(key=lambda turn: turn[0])
        yield _conversation(thread, [record for _, record in turns], columns, ours)


def _require_room(size: int, name: str) -> None:
    if size > _MOST:
        raise DataError(
            f"{name}: more than {_MOST >> 20} million characters in turns of conversations",
            "whole conversations, or fewer turns a file",
            "split the file between conversations, or write each as one row {messages: […]}",
        )


def _conversation(thread: str, turns: list[Record], columns: Mapping[str, str], ours: set[str]) -> Record:
    said, first = [], turns[0]
    for record in turns:
        value = record.value or {}
        text = value.get(columns["text"])
        if not isinstance(text, str) or not text.strip():
            continue
        try:
            role = role_of(str(value.get(columns["speaker"])), ours)
        except UnusableRow as error:
            return unusable(record.line, error.reason, error.detail)._replace(file=record.file)
        said.append({"role": role, "content": text.strip()})
    return Record(first.line, "", {"turns": said, "group": thread}, file=first.file)


def _when(value: Mapping[str, Any]) -> float | None:
    """Return what turns are put in order by: a number, or a date in seconds."""
    found = next((value[name] for name in value if name.strip().lower() in _TIMES), None)
    try:
        number = float(found) if isinstance(found, str | int | float) else None
        return number if number is None or math.isfinite(number) else None
    except OverflowError:
        return None
    except ValueError:
        return _seconds(str(found))


def _seconds(text: str) -> float | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return read(text.strip()).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _trees(records: Iterable[Record], name: str) -> Iterator[Record]:
    """Hang messages that know only their parent below it; whole trees pass by."""
    waiting: list[Record] = []
    size = 0
    for record in records:
        value = record.value
        if value is not None and "parent_id" in value and not value.get("replies"):
            size += len(record.text)
            _require_room(size, name)
            waiting.append(record)
        else:
            yield record
    nodes = {record.value["message_id"]: record.value | {"replies": []} for record in waiting
             if record.value and isinstance(record.value.get("message_id"), str)}  # fmt: skip
    for record in waiting:
        assert record.value is not None
        parent, message = record.value["parent_id"], nodes.get(str(record.value.get("message_id")))
        if message is None:
            yield unusable(record.line, "a message without message_id")._replace(file=record.file)
        elif parent is None:
            continue
        elif not isinstance(parent, str):
            yield unusable(record.line, "a parent_id that is no name")._replace(file=record.file)
        elif parent in nodes:
            nodes[parent]["replies"].append(message)
        else:
            yield unusable(record.line, "a reply to a message that is not there")._replace(file=record.file)
    for record in waiting:
        if record.value and record.value["parent_id"] is None and str(record.value.get("message_id")) in nodes:
            yield record._replace(value=nodes[str(record.value["message_id"])])
