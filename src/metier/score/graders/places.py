"""What a grader is shown of a row: `{{ item.… }}` and `{{ sample.… }}` filled in; imports no torch."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metier.core.errors import SettingsError
from metier.score import calls, structured

_PLACE = re.compile(r"\{\{([^{}]+)\}\}")  # space is taken off afterwards: looked for here it costs its length cubed
_MOST_CHARACTERS = 1 << 22
"""Of a filled template: a place may stand in it a thousand times, and hold a megabyte."""
_REFERENCES = (
    "reference",
    "reference_answer",
    "answer",
    "label",
    "completion",
    "expected",
    "ideal",
    "output",
    "target",
)
_PROMPTS = ("prompt", "input", "question", "text", "instruction")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One row and one answer to it, as graders name their parts."""

    item: dict[str, Any]
    sample: dict[str, Any]


def shown(prompt: str, reference: str, output: str, *, beside: Mapping[str, Any]) -> Shown:
    """Return what `item` and `sample` hold: the row under every usual name, the answer as text, JSON and calls.

    Args:
        prompt: what the model was asked.
        reference: the right answer; "" where there is none.
        output: the answer.
        beside: further names of `item`, which go before the usual ones.
    """
    item: dict[str, Any] = dict.fromkeys(_PROMPTS, prompt)
    item |= dict.fromkeys(_REFERENCES, reference)
    item |= beside
    tools = [
        {"type": "function", "function": {"name": call.name, "arguments": json.dumps(call.arguments, default=str)}}
        for call in calls.parse(output)
    ]
    sample = {"output_text": output, "output_json": structured.parse(output), "output_tools": tools}
    return Shown(item=item, sample=sample)


def fill(template: str, row: Shown) -> str:
    """Fill every place of a template; a place that this answer does not have (its JSON is broken) becomes nothing.

    Raises:
        SettingsError: a place that no row and no answer can have, or far too long a text.
    """
    left = _MOST_CHARACTERS

    def one(match: re.Match[str]) -> str:
        nonlocal left
        text = _text(_value(match.group(1).strip(), row))
        left -= len(text)
        if left < 0:
            raise SettingsError(
                f"graders: more than {_MOST_CHARACTERS:,} characters to look at", "fewer, shorter places"
            )
        return text

    return _PLACE.sub(one, template)


def _value(path: str, row: Shown) -> Any:
    root, *names = re.split(r"[.\[\]]+", path.strip("]"))
    tables = {"item": row.item, "sample": row.sample}
    if root not in tables or not names or names[0] not in tables[root]:
        known = [f"{part}.{name}" for part, table in tables.items() for name in table]
        raise SettingsError(f"graders: no place '{path}'", "one of " + ", ".join(known))
    value: Any = tables[root]
    for name in names:
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and len(name) < 9 and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
