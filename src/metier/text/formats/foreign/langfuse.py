"""Langfuse traces, observations and data set items: what went into a model and what came out."""

import json
from collections.abc import Iterator
from typing import Any

from metier.text.formats.foreign.kind import Columns, Foreign, Plain, Values
from metier.text.messages import UnusableRow

_MARKS = {"traceId", "trace_id", "observations", "expectedOutput", "sessionId", "startTime", "projectId"}
_EXPECTED = ("expectedOutput", "expected_output")
_GROUPS = ("sessionId", "session_id", "traceId", "trace_id")
_GENERATIONS = (None, "GENERATION", "TRACE")


def fits(record: Values, columns: Columns) -> bool:
    """Tell whether a record has an input and an output, and marks of a trace."""
    answered = "output" in record or any(name in record for name in _EXPECTED)
    return "input" in record and answered and bool(_MARKS & record.keys())


def translate(record: Values, columns: Columns) -> Iterator[Plain]:
    """Yield the generation as a conversation; an expected output goes before what the model said."""
    if record.get("type") not in _GENERATIONS:
        raise UnusableRow("not a generation", f"type {str(record.get('type'))[:40]!r}")
    asked, tools = _asked(_opened(record.get("input")))
    expected = next((record[name] for name in _EXPECTED if record.get(name)), None)
    answer = _answered(_opened(expected if expected is not None else record.get("output")))
    group = next((str(record[name]) for name in _GROUPS if record.get(name)), None)
    plain: dict[str, Any] = {"prompt": asked, "completion": answer}
    yield Plain("completion", plain | ({"tools": tools} if tools else {}) | ({"group": group} if group else {}))


def _opened(value: Any) -> Any:
    """Return what JSON text stands for (tables hold it so); other text stays."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _asked(value: Any) -> tuple[Any, Any]:
    if isinstance(value, dict):
        turns = value.get("messages")
        if isinstance(turns, list):
            return turns, value.get("tools")
        if "role" in value:
            return [value], None
        texts = [each for each in value.values() if isinstance(each, str)]
        return (texts[0] if len(texts) == len(value) == 1 else json.dumps(value, ensure_ascii=False)), None
    return value, None


def _answered(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("choices"), list) and value["choices"]:
        first = value["choices"][0]
        return first.get("message") if isinstance(first, dict) else None
    if isinstance(value, dict) and "role" not in value and isinstance(value.get("content"), str):
        return value["content"]
    return value


FORMAT = Foreign(name="langfuse", says="Langfuse traces", fits=fits, translate=translate)
