"""Every text of a row, wherever it stands: turns, names, tool calls, tools, labels, and the leaves of JSON in them."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from metier.core.types import ChatRow, JudgedRow, LabelledRow, Message, PreferenceRow, Row, TaskRow, TextRow

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|[_\-.]+")


class Passage(NamedTuple):
    """A text, the key under which it stands in JSON ("" elsewhere), and whether it is the name of a class."""

    text: str
    key: str = ""
    is_label: bool = False


_TURNS: Mapping[type, tuple[str, ...]] = {
    ChatRow: ("messages",),
    PreferenceRow: ("prompt", "chosen", "rejected"),
    JudgedRow: ("prompt", "completion"),
    TaskRow: ("prompt",),
}

Change = Callable[[Passage], str]
"""Returns what is to stand there instead; the text itself when nothing is to change."""


def mapped(row: Row, change: Change) -> Row:
    """Return the row with every text changed; the same row when no text was.

    JSON (answers, arguments of tool calls, lists of labels) stays JSON: its leaves are changed one by one, with the
    key above them for context. Keys, and everything that does not change, stay as they were read.
    """
    if isinstance(row, TextRow):
        return _with(row, text=_text(row.text, change))
    if isinstance(row, LabelledRow):
        label = _label(row, change)
        return _with(row, text=_text(row.text, change), label=label)
    turns = {name: _turns(_value(row, name), change) for name in _TURNS[type(row)]}
    checked = {"checker": _walk(row.checker, "", change)} if isinstance(row, TaskRow) else {}
    return _with(row, **turns, **checked, tools=_walk(row.tools, "", change))


def passages(row: Row) -> list[Passage]:
    """Return every text of a row, in the order in which `mapped` asks for them."""
    if isinstance(row, ChatRow) and not row.tools and all(map(_is_plain, row.messages)):
        return [Passage(turn.content) for turn in row.messages if turn.content]
    found: list[Passage] = []

    def collect(passage: Passage) -> str:
        found.append(passage)
        return passage.text

    mapped(row, collect)
    return found


def _is_plain(turn: Message) -> bool:
    """Tell whether a turn is nothing but a text that is no JSON: nearly all are."""
    return turn.name is None and not turn.tool_calls and turn.content[:1] not in ("{", "[")


def _with(row: Any, **values: Any) -> Any:
    """Replace what differs, so that an unchanged row stays the very same object."""
    fresh = {name: value for name, value in values.items() if value is not _value(row, name)}
    return replace(row, **fresh) if fresh else row


def _value(row: Any, name: str) -> Any:
    return row.__getattribute__(name)


def _label(row: LabelledRow, change: Change) -> str:
    if row.answer == "score":
        return row.label
    if row.answer == "labels":
        names = json.loads(row.label)
        fresh = [change(Passage(name, is_label=True)) for name in names]
        return row.label if fresh == names else json.dumps(sorted(fresh), ensure_ascii=False, separators=(",", ":"))
    return change(Passage(row.label, is_label=True))


def _turns(turns: tuple[Message, ...], change: Change) -> tuple[Message, ...]:
    fresh = tuple(_turn(turn, change) for turn in turns)
    return turns if all(one is other for one, other in zip(turns, fresh, strict=True)) else fresh


def _turn(turn: Message, change: Change) -> Message:
    values: dict[str, Any] = {"content": _text(turn.content, change)}
    if turn.name is not None:
        values["name"] = change(Passage(turn.name))
    if turn.tool_calls:
        values["tool_calls"] = _walk(turn.tool_calls, "", change)
    return _with(turn, **values)


def _text(text: str, change: Change) -> str:
    """Change a text, or the leaves of the JSON that it is."""
    if text[:1] not in ("{", "["):
        return change(Passage(text)) if text else text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return change(Passage(text))
    fresh = _walk(value, "", change)
    return text if fresh is value else _as_written(fresh, text)


def _as_written(value: Any, before: str) -> str:
    """Write JSON about as it was written before: on lines, with spaces or without."""
    if "\n" in before:
        return json.dumps(value, ensure_ascii=False, indent=2)
    separators = (", ", ": ") if '": ' in before else (",", ":")
    return json.dumps(value, ensure_ascii=False, separators=separators)


def _walk(value: Any, key: str, change: Change) -> Any:
    """Change the leaves of a structure; one in which nothing changes is returned itself."""
    if isinstance(value, dict):
        entries = {name: _leaf_or_walk(inner, str(name), change) for name, inner in value.items()}
        return entries if any(entries[name] is not inner for name, inner in value.items()) else value
    if isinstance(value, list | tuple):
        listed = [_leaf_or_walk(inner, key, change) for inner in value]
        same = all(one is other for one, other in zip(value, listed, strict=True))
        return value if same else type(value)(listed)
    return _leaf_or_walk(value, key, change)


def _leaf_or_walk(value: Any, key: str, change: Change) -> Any:
    if isinstance(value, dict | list | tuple):
        return _walk(value, key, change)
    shown = _CAMEL.sub(" ", key).strip()
    if isinstance(value, str):
        if key == "arguments" or value[:1] in ("{", "["):
            return _text(value, change)
        return change(Passage(value, shown)) if value else value
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) < 10**6:
        return value
    written = json.dumps(value)
    fresh = change(Passage(written, shown))
    if fresh == written:
        return value
    return int(fresh) if fresh.isdigit() and not fresh.startswith("0") else 0
