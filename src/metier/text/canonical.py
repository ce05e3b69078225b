"""The form in which a changed row is written and read back: columns called what they are for, and the format."""

from collections.abc import Mapping, Sequence
from typing import Any

from metier.core.errors import DataError
from metier.core.types import ChatRow, JudgedRow, LabelledRow, Message, PreferenceRow, Row, TaskRow, TextRow
from metier.text.formats import SHARED_ROLES, FormatName, Recognised

AS = "as"
"""The key that says: this row is in canonical form, and of this format."""

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "chat": ("messages", "tools", "parallel_tool_calls"),
    "label": ("text", "label"),
    "score": ("text", "score"),
    "text": ("text",),
    "judged": ("prompt", "completion", "good", "tools"),
    "task": ("prompt", "checker", "tools"),
    "preference": ("prompt", "chosen", "rejected", "tools"),
}


def recognised(name: str) -> Recognised:
    """Return how a canonical record of this format is read.

    Raises:
        DataError: there is no such format.
    """
    if name not in _COLUMNS:
        raise DataError(f"a row in the form {name!r}", f"one of {', '.join(_COLUMNS)}", "prepare the data again")
    columns = {role: role for role in (*_COLUMNS[name], *SHARED_ROLES)}
    return Recognised(format=name, columns=columns)  # type: ignore[arg-type]


def record_of(row: Row) -> dict[str, Any]:
    """Return a row as a record that `to_row(record, recognised(record["as"]))` reads back as the same row.

    Tools and tool calls are handed on as they were read.
    """
    name, values = _values(row)
    carried: dict[str, Any] = {"group": row.group, "slice": row.slice, "time": row.time, "difficulty": row.difficulty}
    if row.weight != 1.0:
        carried["weight"] = row.weight
    if row.synthetic:
        carried["synthetic"] = True
    return {AS: name} | values | {role: value for role, value in carried.items() if value is not None}


def _values(row: Row) -> tuple[FormatName, dict[str, Any]]:
    if isinstance(row, TextRow):
        return "text", {"text": row.text}
    if isinstance(row, LabelledRow):
        role: FormatName = "score" if row.answer == "score" else "label"
        return role, {"text": row.text, role: row.label}
    if isinstance(row, ChatRow):
        parallel = {} if row.parallel_tool_calls is None else {"parallel_tool_calls": row.parallel_tool_calls}
        return "chat", {"messages": _turns(row.messages), **_tools(row), **parallel}
    if isinstance(row, JudgedRow):
        said = {"prompt": _turns(row.prompt), "completion": _turns(row.completion), "good": row.good}
        return "judged", said | _tools(row)
    if isinstance(row, TaskRow):
        return "task", {"prompt": _turns(row.prompt), "checker": row.checker, **_tools(row)}
    assert isinstance(row, PreferenceRow)
    parts = {"prompt": row.prompt, "chosen": row.chosen, "rejected": row.rejected}
    return "preference", {name: _turns(turns) for name, turns in parts.items()} | _tools(row)


def _tools(row: ChatRow | PreferenceRow | JudgedRow | TaskRow) -> dict[str, Any]:
    return {"tools": list(row.tools)} if row.tools else {}


def _turns(turns: Sequence[Message]) -> list[dict[str, Any]]:
    return [turn.as_dict() | ({} if turn.weight is None else {"weight": turn.weight}) for turn in turns]
