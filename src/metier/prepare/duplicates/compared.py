"""What of a row is compared with other rows: what it asks and what it answers, not what all rows have in common."""

import json
from collections.abc import Iterable

from metier.core.types import ChatRow, JudgedRow, LabelledRow, Message, PreferenceRow, Row, TaskRow, TextRow
from metier.prepare.duplicates.shelf import Compared
from metier.prepare.places import hashed

_SETTING_ROLES = ("system", "developer")


def compared(row: Row) -> Compared:
    """Return the parts of a row that are compared.

    Two labelled rows are only ever duplicates when their labels are equal. In a preference the rejected answer stands
    with the question, so that a pair is no duplicate of the same pair the other way round.
    """
    kind = type(row).__name__
    if isinstance(row, TextRow):
        return Compared("", "", row.text, hashed(kind))
    if isinstance(row, LabelledRow):
        return Compared("", row.text, "", hashed(f"{kind}\x1f{row.answer}\x1f{row.label}"))
    if isinstance(row, ChatRow):
        asked = _said(turn for turn in row.messages if turn.role not in (*_SETTING_ROLES, "assistant"))
        return Compared(_setting(row.messages), asked, _answered(row.messages), hashed(kind))
    if isinstance(row, JudgedRow):
        asked = _said(turn for turn in row.prompt if turn.role not in _SETTING_ROLES)
        return Compared(_setting(row.prompt), asked, _answered(row.completion), hashed(f"{kind}\x1f{row.good}"))
    if isinstance(row, TaskRow):
        asked = _said(turn for turn in row.prompt if turn.role not in _SETTING_ROLES)
        return Compared(_setting(row.prompt), asked, json.dumps(row.checker, ensure_ascii=False), hashed(kind))
    assert isinstance(row, PreferenceRow)
    asked = _said(turn for turn in (*row.prompt, *row.rejected) if turn.role not in _SETTING_ROLES)
    return Compared(_setting(row.prompt), asked, _answered(row.chosen), hashed(kind))


def _setting(turns: Iterable[Message]) -> str:
    return _said(turn for turn in turns if turn.role in _SETTING_ROLES)


def _answered(turns: Iterable[Message]) -> str:
    return _said(turn for turn in turns if turn.role == "assistant")


def _said(turns: Iterable[Message]) -> str:
    return "\n".join(text for turn in turns for text in (turn.content, *_calls(turn)) if text)


def _calls(turn: Message) -> Iterable[str]:
    """Return what the tool calls of a turn ask for, their ids left out: those differ in every row."""
    for call in turn.tool_calls:
        function = call.get("function", call)
        yield json.dumps([function.get("name"), function.get("arguments")] if isinstance(function, dict) else function)
