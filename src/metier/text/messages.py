"""Turns of a conversation, out of the shapes in which people write them."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from metier.core.types import Message
from metier.text import thought

_SHAREGPT_ROLES: Mapping[str, str] = {
    "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "assistant": "assistant",
    "model": "assistant", "bot": "assistant", "system": "system", "tool": "tool", "observation": "tool",
}  # fmt: skip
_CHAT_ROLES: Mapping[str, str] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
}  # fmt: skip
_THINKING = ("reasoning_content", "reasoning", "thinking")
_TRANSCRIPT = re.compile(r"(?:^|\n\n)(Human|Assistant):[ ]?")


class UnusableRow(Exception):
    """A row cannot be learnt from; stays inside this room, where it becomes a `Dropped`.

    Args:
        reason: what is wrong, the same words for every row with this fault, so that they can be counted together.
        detail: what is particular to this row.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def text_of(value: Any, name: str) -> str:
    """Return a text that says something.

    Raises:
        UnusableRow: it is missing, of another type, or only white space.
    """
    if value is None:
        raise UnusableRow(f"'{name}' is missing")
    if not isinstance(value, str):
        raise UnusableRow(f"'{name}' is not text", f"it is {type(value).__name__}")
    if not value.strip():
        raise UnusableRow(f"'{name}' is empty")
    return value


def is_texts(value: Any) -> bool:
    """Tell whether a value is a list of texts: the sentences of one text, or several answers to one question."""
    return isinstance(value, list) and bool(value) and all(isinstance(part, str) for part in value)


def joined(parts: Sequence[str], name: str) -> str:
    """Put the sentences of a text together."""
    return text_of("\n".join(part.strip() for part in parts if part.strip()), name)


def list_of(value: Any, name: str) -> list[Any]:
    """Return a list; a text that holds a JSON list (as CSV and Parquet carry it) is read.

    Raises:
        UnusableRow: it is neither.
    """
    if isinstance(value, str):
        value = _from_json(value, name)
    if value is None:
        raise UnusableRow(f"'{name}' is missing")
    if not isinstance(value, list):
        raise UnusableRow(f"'{name}' is not a list", f"it is {type(value).__name__}")
    return value


def _from_json(text: str, name: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant) if text.strip() else None
    except (ValueError, RecursionError) as error:
        raise UnusableRow(f"'{name}' is text that is not JSON", str(error)) from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def tools_of(value: Any) -> tuple[dict[str, Any], ...]:
    """Return tool schemas as they were read."""
    if value is None or value == "":
        return ()
    tools = list_of(value, "tools")
    if not all(isinstance(tool, dict) for tool in tools):
        raise UnusableRow("'tools' is not a list of objects")
    return tuple(tools)


def weight_of(value: Any, where: str) -> float:
    """Return a loss weight: a number, at least 0. Numbers written as text (CSV) are read."""
    try:
        weight = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        weight = math.nan
    if not (math.isfinite(weight) and weight >= 0):
        raise UnusableRow(f"the weight of {where} is not a number of at least 0", f"it is {str(value)[:40]!r}")
    return weight


def chat(values: Any, name: str) -> tuple[Message, ...]:
    """Read turns in the OpenAI form (`role`, `content`, `tool_calls` …).

    Tool calls are kept as they were read. Content given in parts is joined when all parts are text.
    """
    return _each(values, name, _chat_turn)


def sharegpt(values: Any, name: str) -> tuple[Message, ...]:
    """Read turns in the ShareGPT form (`from`, `value`)."""
    return _each(values, name, _sharegpt_turn)


def _each(values: Any, name: str, read: Callable[[Mapping[str, Any]], Message]) -> tuple[Message, ...]:
    turns = []
    for place, value in enumerate(list_of(values, name), 1):
        if not isinstance(value, dict):
            raise UnusableRow("a turn is not an object", f"turn {place} is {type(value).__name__}")
        try:
            turns.append(read(value))
        except UnusableRow as error:
            raise UnusableRow(error.reason, f"turn {place}" + (f": {error.detail}" if error.detail else "")) from error
    if not turns:
        raise UnusableRow(f"'{name}' is empty")
    return tuple(turns)


def require_order(turns: Sequence[Message]) -> None:
    """Check what no template can write: rules given after the talk began, and calls and results that do not meet.

    Where no turn holds a call, calls are written as text, and results belong to what was said before them.

    Raises:
        UnusableRow: names the turn.
    """
    begun, open_calls = False, set[str]()
    waiting, calling = 0, any(turn.tool_calls for turn in turns)
    for place, turn in enumerate(turns, 1):
        if turn.role == "system" and begun:
            raise UnusableRow("roles out of order: a system turn after others", f"turn {place}")
        begun = begun or turn.role != "system"
        if turn.role == "tool":
            if calling and not waiting:
                raise UnusableRow("a tool's result that nobody called for", f"turn {place}")
            if turn.tool_call_id is not None and open_calls and turn.tool_call_id not in open_calls:
                raise UnusableRow("a tool's result for another call", f"turn {place}: {turn.tool_call_id[:40]!r}")
            continue
        if waiting and turns[place - 2].role != "tool":
            raise UnusableRow("tool calls without their results", f"turn {place} goes on")
        waiting = len(turn.tool_calls)
        open_calls = {str(call["id"]) for call in turn.tool_calls if call.get("id") is not None}


def _chat_turn(value: Mapping[str, Any]) -> Message:
    role, content = _role(value.get("role"), _CHAT_ROLES), value.get("content")
    if len(value) == 2 and isinstance(content, str) and content and not content.isspace():
        return Message(role=role, content=content)  # nothing but these two: nearly all turns
    if value.get("function_call") is not None:
        raise UnusableRow("'function_call' is the old form of a tool call", "write it as tool_calls")
    calls = value.get("tool_calls")
    tool_calls = () if calls is None else tuple(list_of(calls, "tool_calls"))
    if not all(isinstance(call, dict) for call in tool_calls):
        raise UnusableRow("'tool_calls' is not a list of objects")
    content = _content(content)
    if role == "assistant" and (thinking := _thinking(value)):
        content = thought.before(thinking, content)
    if not content.strip() and not tool_calls and role in {"user", "assistant"}:
        raise UnusableRow("a turn says nothing", f"the role is {role}")
    return Message(
        role=role,
        content=content,
        tool_calls=tool_calls,
        name=_optional_text(value.get("name"), "name"),
        tool_call_id=_optional_text(value.get("tool_call_id"), "tool_call_id"),
        weight=_turn_weight(value),
    )


def _thinking(value: Mapping[str, Any]) -> str:
    """Return what was thought before a turn, by any of the names that exports give it."""
    names = [name for name in _THINKING if value.get(name) is not None]
    return "\n".join(text for name in names[:1] if (text := _optional_text(value[name], name)) and text.strip())


def _turn_weight(value: Mapping[str, Any]) -> float | None:
    weight = value.get("weight")
    return None if weight is None else weight_of(weight, "a turn")


def _role(value: Any, known: Mapping[str, str]) -> str:
    if not isinstance(value, str) or value not in known:
        raise UnusableRow("a turn has an unknown role", f"{str(value)[:40]!r}; known: {', '.join(known)}")
    return known[value]


def _content(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise UnusableRow("the content of a turn is not text", f"it is {type(value).__name__}")
    return "".join(_part(part) for part in value)


def _part(part: Any) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return part["text"]
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    raise UnusableRow("a turn has a part that is not text", f"a part of type {str(kind)[:40]!r}")


def _optional_text(value: Any, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise UnusableRow(f"'{name}' of a turn is not text")


def _sharegpt_turn(value: Mapping[str, Any]) -> Message:
    if "from" not in value:
        return _chat_turn(value)
    role = _role(value["from"], _SHAREGPT_ROLES)
    return Message(role=role, content=text_of(value.get("value"), "value"), weight=_turn_weight(value))


def answer(value: Any, name: str) -> tuple[Message, ...]:
    """Read what an assistant says: a text, one message, a list of messages, or an object (learnt as its JSON text).

    Of a list of texts, which are several answers to one question, the first is taken.
    """
    if isinstance(value, dict):
        if "role" not in value:
            return (Message(role="assistant", content=_as_json(value)),)
        value = [value]
    if is_texts(value):
        value = next((part for part in value if part.strip()), "")
    if isinstance(value, list):
        return chat(value, name)
    return (Message(role="assistant", content=text_of(value, name)),)


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise UnusableRow("a number that is not finite", str(error)) from error


def question(value: Any, name: str) -> tuple[Message, ...]:
    """Read what is put to an assistant: a text or a list of messages."""
    if isinstance(value, list):
        return chat(value, name)
    return (Message(role="user", content=text_of(value, name)),)


def transcript(value: str, name: str) -> tuple[Message, ...]:
    """Read a transcript whose turns begin with "Human:" and "Assistant:" after an empty line."""
    pieces = _TRANSCRIPT.split(value)
    if len(pieces) < 3 or pieces[0].strip():
        raise UnusableRow(f"'{name}' is not a transcript", "it does not begin with 'Human:' or 'Assistant:'")
    turns = []
    for speaker, said in zip(pieces[1::2], pieces[2::2], strict=True):
        role = "user" if speaker == "Human" else "assistant"
        turns.append(Message(role=role, content=text_of(said.strip("\n"), f"{speaker}:")))
    return tuple(turns)


def require_answer(turns: Sequence[Message]) -> tuple[Message, ...]:
    """Check that there is something to learn.

    Raises:
        UnusableRow: no assistant turn, or each of them has weight 0.
    """
    weights = [turn.weight for turn in turns if turn.role == "assistant"]
    if not weights:
        raise UnusableRow("no assistant turn", "there is nothing to learn")
    if all(weight == 0 for weight in weights):
        raise UnusableRow("every assistant turn has weight 0", "there is nothing to learn")
    return tuple(turns)


def shared_start(first: Sequence[Message], second: Sequence[Message]) -> int:
    """Count the turns that two conversations have in common at their start."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count
