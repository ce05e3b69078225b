"""Files of tasks: conversations that wait for an answer, with what a grader compares it to beside them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from metier.core.errors import DataError
from metier.text.formats.columns import column, is_reference, listed, plain_name, short
from metier.text.formats.names import SHARED_ROLES, Recognised
from metier.text.formats.shapes import is_turns

_TURNS = ("messages", "prompt", "input")
_NO_REFERENCE = {"id", "tools", "metadata"}


def found(records: Sequence[Mapping[str, Any]], where: str) -> Recognised | None:
    """Recognise tasks by themselves: no conversation has an answer, and a column is called like a reference.

    Raises:
        DataError: conversations wait for an answer, and nothing beside them could be one.
    """
    waiting = [_waiting(record) for record in records]
    if not waiting or not all(waiting):
        return None
    turns = str(waiting[0])
    beside = [name for name, value in records[0].items() if isinstance(value, str | int | float | dict | list)]
    others = [name for name in beside if name != turns and plain_name(name) not in _NO_REFERENCE]
    reference = next((name for name in others if is_reference(name)), others[0] if len(others) == 1 else None)
    if reference is None:
        raise DataError(
            f"{where}: conversations that end with the user's turn", "an answer to learn from",
            "add the assistant's turns, or name the column of the answer; tasks with a grader are prepare.format: task",
        )  # fmt: skip
    reason = (
        f"conversations that wait for an answer, and {short(reference)!r} beside them: tasks for a grader; "
        f"to learn that column as the answer: prepare.columns: {{prompt: {turns}, completion: {short(reference)}}}"
    )
    return _recognised(records, turns, {}, reason)


def as_told(records: Sequence[Mapping[str, Any]], chosen: Mapping[str, str], where: str) -> Recognised:
    """Take a file for tasks because the user says so.

    Raises:
        DataError: no column holds the turns.
    """
    names = Counter(name for record in records for name in record)
    turns = chosen.get("prompt") or column("prompt", _TURNS, names, taken=set(chosen.values()))
    if turns is None:
        raise DataError(
            f"{where}: no column of prompts (columns: {listed(names)})", "one of 'messages', 'prompt', 'input'",
            "name it as prepare.columns.prompt",
        )  # fmt: skip
    return _recognised(records, turns, chosen, f"tasks; prompts in {turns!r}, all other columns are the grader's")


def _recognised(records: Sequence[Mapping[str, Any]], turns: str, chosen: Mapping[str, str], reason: str) -> Recognised:
    names = {name for record in records for name in record}
    shared = {role: role for role in (*SHARED_ROLES, "tools") if role in names}
    fitting = sum(record.get(turns) is not None for record in records)
    columns = {**shared, **chosen, "prompt": turns}
    return Recognised(format="task", columns=columns, confidence=fitting / len(records), reason=reason)


def _waiting(record: Mapping[str, Any]) -> str | None:
    """Return the column of turns none of which is the assistant's."""
    for name in _TURNS:
        turns = record.get(name)
        if isinstance(turns, list) and is_turns(turns, "role"):
            roles = [turn.get("role") for turn in turns if isinstance(turn, dict)]
            if "assistant" not in roles and roles[-1] == "user":
                return name
    return None
