"""The formats whose records are rows as they stand: which columns each must and may have, and how their values look."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metier.text.formats.columns import ANSWER, DOCUMENT, GROUPS, LABEL, MESSAGE, SCORE
from metier.text.formats.names import SHARED_ROLES, FormatName

Found = Mapping[str, Any]
"""What a record holds in the columns of a shape, by role."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One known format: the columns it must and may have (by their usual names) and what their values look like."""

    name: FormatName
    needs: Mapping[str, Sequence[str]]
    fits: Callable[[Found], bool]
    may: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def roles(self) -> list[tuple[str, Sequence[str]]]:
        """Return every role with its usual column names, the needed ones first."""
        shared = ((role, GROUPS if role == "group" else (role,)) for role in SHARED_ROLES)
        return [*self.needs.items(), *self.may.items(), *shared]


def is_turns(value: Any, key: str) -> bool:
    """Tell whether a value is a list of turns that have this key, or JSON text of one."""
    if isinstance(value, str):
        return value.lstrip().startswith("[") and f'"{key}"' in value
    return isinstance(value, list) and any(isinstance(turn, dict) and key in turn for turn in value[:3])


def is_plain(value: Any) -> bool:
    """Tell whether a value is what a table's cell can hold."""
    return value is None or isinstance(value, str | int | float)


def _is_said(value: Any) -> bool:
    return value is None or isinstance(value, str | dict) or is_turns(value, "role") or _is_texts(value)


def _is_texts(value: Any) -> bool:
    """Tell whether a value is a list of texts: sentences of one text, or several answers to one question."""
    return isinstance(value, list) and bool(value) and all(isinstance(part, str) for part in value)


def _is_label(found: Found) -> bool:
    label = found["label"]
    return all(is_plain(name) for name in label) if isinstance(label, list) else is_plain(label)


def _is_judgement(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() in {"true", "false"})


def _plain(*roles: str) -> Callable[[Found], bool]:
    return lambda found: all(is_plain(found.get(role)) for role in roles)


_SYSTEM = {"system": ("system", "system_prompt")}
_TOOLS = {"tools": ("tools",)}
SHAPES: tuple[Shape, ...] = (
    Shape(
        "preference",
        {"input": ("input",), "chosen": ("preferred_output",), "rejected": ("non_preferred_output",)},
        lambda found: isinstance(found["input"], dict) and is_turns(found["input"].get("messages"), "role"),
    ),
    Shape(
        "preference",
        {"chosen": ("chosen", "accepted"), "rejected": ("rejected",)},
        lambda found: _is_said(found["chosen"]) and _is_said(found["rejected"]),
        {
            "prompt": ("prompt", "question", "instruction", "query"),
            "context": ("input", "context"),
            **_TOOLS,
            **_SYSTEM,
        },
    ),
    Shape(
        "judged",
        {"prompt": ("prompt", "question", "query", "instruction"), "completion": ANSWER, "good": ("label", "good")},
        lambda found: _is_said(found["prompt"]) and _is_said(found["completion"]) and _is_judgement(found["good"]),
        {**_TOOLS, **_SYSTEM},
    ),
    Shape(
        "chat",
        {"messages": ("messages", "conversation", "conversations", "dialogue", "dialog", "chat")},
        lambda found: is_turns(found["messages"], "role"),
        {**_TOOLS, "parallel_tool_calls": ("parallel_tool_calls",)},
    ),
    Shape(
        "sharegpt",
        {"conversations": ("conversations", "conversation", "dialogue", "dialog")},
        lambda found: is_turns(found["conversations"], "from"),
        {**_SYSTEM, **_TOOLS},
    ),
    Shape(
        "alpaca",
        {"instruction": ("instruction",), "output": ("output", "response", "completion", "answer")},
        lambda found: (
            is_plain(found["instruction"])
            and _is_said(found["output"])
            and (is_plain(found.get("input")) or _is_texts(found["input"]))
        ),
        {"input": ("input", "context"), **_SYSTEM},
    ),
    Shape(
        "completion",
        {"prompt": ("prompt", "question", "query", "input", "source", "text", "message"), "completion": ANSWER},
        lambda found: _is_said(found["prompt"]) and _is_said(found["completion"]) and _is_said(found.get("context")),
        {"context": ("context", "passage", "contexts"), **_SYSTEM, **_TOOLS},
    ),
    Shape("label", {"text": MESSAGE, "label": LABEL}, lambda found: is_plain(found["text"]) and _is_label(found)),
    Shape("score", {"text": MESSAGE, "score": SCORE}, _plain("text", "score")),
    Shape("text", {"text": DOCUMENT}, _plain("text")),
)
