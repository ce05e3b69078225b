"""How a record of a known format becomes a `Row`, and the content hash that is its id."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from metier.core import digest
from metier.core.types import ChatRow, JudgedRow, LabelledRow, Message, PreferenceRow, Row, TaskRow, TextRow
from metier.text import messages
from metier.text.messages import UnusableRow
from metier.text.times import seconds

_ID_CHARACTERS = 24
"""96 bits: among ten million rows the chance of two equal ids is below 1e-14."""


def identity(row: Row) -> str:
    """Return the content hash of a row, 24 hexadecimal characters: what is learnt, not where it stood.

    Raises:
        UnusableRow: the row holds something that JSON or Unicode cannot (NaN, half a character).
    """
    try:
        return digest.of_bytes(_content(row).encode())[:_ID_CHARACTERS]
    except UnicodeEncodeError as error:
        raise UnusableRow("half a character (a lone surrogate)", str(error.reason)) from error
    except ValueError as error:
        raise UnusableRow("a number that is not finite", str(error)) from error


def _content(row: Row) -> str:
    if isinstance(row, TextRow):
        return "text\x1f" + row.text
    if isinstance(row, LabelledRow):
        return f"{row.answer}\x1f{row.label}\x1f{row.text}"
    if isinstance(row, ChatRow):
        return "chat\x1f" + _in_order([_plain_turns(row.messages), row.tools, row.parallel_tool_calls])
    if isinstance(row, JudgedRow):
        parts = (row.prompt, row.completion)
        return "judged\x1f" + _in_order([[_plain_turns(part) for part in parts], row.tools, row.good])
    if isinstance(row, TaskRow):
        return "task\x1f" + _in_order([_plain_turns(row.prompt), row.tools, row.checker])
    parts = (row.prompt, row.chosen, row.rejected)
    return "preference\x1f" + _in_order([[_plain_turns(part) for part in parts], row.tools])


def _in_order(value: Any) -> str:
    """Write JSON with the keys in the order they came in: a template renders tools in that order."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _plain_turns(turns: Sequence[Message]) -> list[Any]:
    return [[turn.role, turn.content, turn.tool_calls, turn.name, turn.tool_call_id, turn.weight] for turn in turns]


def carried(values: Mapping[str, Any]) -> dict[str, Any]:
    """Read what every row may carry: group, slice, weight, time, difficulty, and whether a program wrote it."""
    found: dict[str, Any] = {}
    for role in ("group", "slice"):
        value = values.get(role)
        if value is not None and value != "":
            found[role] = _name_of(value, role)
    weight = values.get("weight")
    if weight is not None and weight != "":
        found["weight"] = messages.weight_of(weight, "the row")
        if found["weight"] == 0:
            raise UnusableRow("the weight of the row is 0", "there is nothing to learn")
    when = values.get("time")
    if when is not None and (stamp := seconds(when)) is not None:
        found["time"] = stamp
    hard = values.get("difficulty")
    if hard is not None and not isinstance(hard, bool) and (number := _number(hard)) is not None:
        found["difficulty"] = number
    if values.get("synthetic") is not None and _is_true(values["synthetic"]):
        found["synthetic"] = True
    return found


def _number(value: Any) -> float | None:
    """Return a finite number, also one written as text (CSV), or None."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _is_true(value: Any) -> bool:
    return value.strip().lower() in ("true", "yes", "1") if isinstance(value, str) else value is True or value == 1


def _name_of(value: Any, role: str) -> str:
    """Return a label, a group or a slice as text: numbers are taken as they are written."""
    if not isinstance(value, str | int | float):
        raise UnusableRow(f"'{role}' is not a name", f"it is {type(value).__name__}")
    text = str(value).strip()
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UnusableRow("half a character (a lone surrogate)", f"in {role}") from error
    return text


def label_or_none(values: Mapping[str, Any]) -> str | None:
    """Return the label of a record that may be unusable otherwise."""
    value = values.get("label")
    return value.strip() if isinstance(value, str) and value.strip() else None


_Values = Mapping[str, Any]
_Names = Mapping[str, str]


def _chat_row(values: _Values, names: _Names, common: _Values) -> Row:
    parallel = values.get("parallel_tool_calls")
    if parallel is not None and not isinstance(parallel, bool):
        raise UnusableRow("'parallel_tool_calls' is not true or false")
    turns = messages.require_answer(messages.chat(values["messages"], names["messages"]))
    tools = messages.tools_of(values.get("tools"))
    return ChatRow(messages=turns, tools=tools, parallel_tool_calls=parallel, **common)


def _sharegpt_row(values: _Values, names: _Names, common: _Values) -> Row:
    spoken = messages.sharegpt(values["conversations"], names["conversations"])
    turns = messages.require_answer((*_system(values), *spoken))
    return ChatRow(messages=turns, tools=messages.tools_of(values.get("tools")), **common)


def _system(values: _Values) -> tuple[Message, ...]:
    system = values.get("system")
    if system is None or (isinstance(system, str) and not system.strip()):
        return ()
    return (Message(role="system", content=messages.text_of(system, "system")),)


def _joined(first: str, second: Any, name: str) -> str:
    """Put what an instruction is about below it."""
    if second is None or (isinstance(second, str) and not second.strip()):
        return first
    below = messages.joined(second, name) if messages.is_texts(second) else messages.text_of(second, name)
    return f"{first}\n\n{below}"


def _alpaca_row(values: _Values, names: _Names, common: _Values) -> Row:
    instruction = messages.text_of(values["instruction"], names["instruction"])
    asked = _joined(instruction, values.get("input"), names.get("input", "input"))
    answer = messages.answer(values["output"], names["output"])
    return ChatRow(messages=(*_system(values), Message(role="user", content=asked), *answer), **common)


def _asked(values: _Values, names: _Names) -> tuple[Message, ...]:
    prompt, context = values["prompt"], values.get("context")
    if isinstance(prompt, str):
        prompt = _joined(messages.text_of(prompt, names["prompt"]), context, names.get("context", "context"))
    elif messages.is_texts(prompt):
        prompt = _joined(messages.joined(prompt, names["prompt"]), context, names.get("context", "context"))
    elif context:
        raise UnusableRow(f"'{names['context']}' stands beside a prompt that is a list of messages")
    return (*_system(values), *messages.question(prompt, names["prompt"]))


def _completion_row(values: _Values, names: _Names, common: _Values) -> Row:
    answer = messages.answer(values["completion"], names["completion"])
    turns = messages.require_answer((*_asked(values, names), *answer))
    return ChatRow(messages=turns, tools=messages.tools_of(values.get("tools")), **common)


def _judged_row(values: _Values, names: _Names, common: _Values) -> Row:
    good = values["good"]
    if isinstance(good, str) and good.strip().lower() in ("true", "false"):
        good = good.strip().lower() == "true"
    if not isinstance(good, bool):
        raise UnusableRow(f"'{names['good']}' is not true or false", f"it is {str(good)[:40]!r}")
    asked, answer = _asked(values, names), messages.answer(values["completion"], names["completion"])
    tools = messages.tools_of(values.get("tools"))
    return JudgedRow(prompt=asked, completion=answer, good=good, tools=tools, **common)


def _task_row(values: _Values, names: _Names, common: _Values) -> Row:
    prompt, checker = messages.question(values["prompt"], names["prompt"]), values["checker"]
    if prompt[-1].role not in ("user", "tool"):
        raise UnusableRow("a task that does not end with the user's turn", f"it ends with {prompt[-1].role!r}")
    if not isinstance(checker, dict) or not checker:
        raise UnusableRow("a task with nothing to check an answer against")
    return TaskRow(prompt=prompt, checker=checker, tools=messages.tools_of(values.get("tools")), **common)


def _preference_row(values: _Values, names: _Names, common: _Values) -> Row:
    tools = values.get("tools")
    chosen, rejected = values["chosen"], values["rejected"]
    if isinstance(values.get("input"), dict):
        prompt = messages.chat(values["input"].get("messages"), "input.messages")
        tools = values["input"].get("tools")
    elif values.get("prompt") is not None:
        prompt = _asked(values, names)
    else:
        prompt = ()
    read = (
        messages.transcript if not prompt and isinstance(chosen, str) and isinstance(rejected, str) else messages.answer
    )
    better, worse = read(chosen, names["chosen"]), read(rejected, names["rejected"])
    if not prompt:
        prompt, better, worse = _split_at_difference(better, worse)
    elif better == worse:
        raise UnusableRow("chosen and rejected are the same")
    return PreferenceRow(prompt=prompt, chosen=better, rejected=worse, tools=messages.tools_of(tools), **common)


def _split_at_difference(
    better: tuple[Message, ...], worse: tuple[Message, ...]
) -> tuple[tuple[Message, ...], tuple[Message, ...], tuple[Message, ...]]:
    """Split two conversations that begin alike into what they share and the two answers."""
    if better == worse:
        raise UnusableRow("chosen and rejected are the same")
    shared = messages.shared_start(better, worse)
    ends = better[shared:], worse[shared:]
    if shared == 0 or not all(end and end[0].role == "assistant" for end in ends):
        raise UnusableRow("chosen and rejected do not answer the same prompt")
    return better[:shared], *ends


def _label_row(values: _Values, names: _Names, common: _Values) -> Row:
    text = messages.text_of(values["text"], names["text"])
    label = values["label"]
    if label is None or (isinstance(label, str) and not label.strip()):
        raise UnusableRow(f"'{names['label']}' is " + ("missing" if label is None else "empty"))
    several = _several(label)
    if several is None:
        return LabelledRow(text=text, label=_name_of(label, names["label"]), **common)
    chosen = sorted({_name_of(name, names["label"]) for name in several})
    if "" in chosen:
        raise UnusableRow(f"'{names['label']}' holds an empty name")
    return LabelledRow(text=text, label=digest.canonical_json(chosen), answer="labels", **common)


def _several(label: Any) -> list[Any] | None:
    """Return the entries of a list of labels, also of one written as JSON text (a cell of a table); None: one label."""
    if isinstance(label, str) and label.lstrip().startswith("["):
        try:
            label = json.loads(label)
        except (ValueError, RecursionError):
            return None
    return label if isinstance(label, list) else None


def _score_row(values: _Values, names: _Names, common: _Values) -> Row:
    text = messages.text_of(values["text"], names["text"])
    score = values["score"]
    if score is None or (isinstance(score, str) and not score.strip()):
        raise UnusableRow(f"'{names['score']}' is " + ("missing" if score is None else "empty"))
    number = None if isinstance(score, bool) else _number(score)
    if number is None:
        raise UnusableRow(f"'{names['score']}' is not a number", f"it is {str(score)[:40]!r}")
    return LabelledRow(
        text=text, label=f"{number:g}" if float(f"{number:g}") == number else repr(number), answer="score", **common
    )


def _text_row(values: _Values, names: _Names, common: _Values) -> Row:
    return TextRow(text=messages.text_of(values["text"], names["text"]), **common)


BUILDERS: Mapping[str, Callable[[_Values, _Names, _Values], Row]] = {
    "chat": _chat_row,
    "preference": _preference_row,
    "judged": _judged_row,
    "task": _task_row,
    "sharegpt": _sharegpt_row,
    "alpaca": _alpaca_row,
    "completion": _completion_row,
    "label": _label_row,
    "score": _score_row,
    "text": _text_row,
}
