"""OpenTelemetry spans of generative models, by the semantic conventions old and new, as OTLP JSON or flat."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from metier.text.formats.foreign.anthropic import call
from metier.text.formats.foreign.kind import Columns, Foreign, Plain, Values, chat
from metier.text.messages import UnusableRow

_PREFIX = "gen_ai."
_INPUT, _OUTPUT = "gen_ai.input.messages", "gen_ai.output.messages"
_SYSTEM, _TOOLS = "gen_ai.system_instructions", "gen_ai.tool.definitions"
_EVENTS = {"gen_ai.system.message": "system", "gen_ai.user.message": "user", "gen_ai.assistant.message": "assistant",
           "gen_ai.tool.message": "tool", "gen_ai.choice": "assistant"}  # fmt: skip


def fits(record: Values, columns: Columns) -> bool:
    """Tell whether a record holds spans of models."""
    return any(_is_generation(span) for span in _spans(record))


def _spans(record: Values) -> Iterator[Mapping[str, Any]]:
    """Yield the spans of an export, or the record itself when it is one."""
    resources = record.get("resourceSpans")
    if not isinstance(resources, list):
        yield record
        return
    for resource in resources:
        for scope in _listed(resource, "scopeSpans"):
            yield from (span for span in _listed(scope, "spans") if isinstance(span, dict))


def _listed(value: Any, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def _is_generation(span: Values) -> bool:
    return any(name.startswith(_PREFIX) for name in _attributes(span.get("attributes"))) or any(
        event.get("name") in _EVENTS for event in _events(span)
    )


def _attributes(value: Any) -> dict[str, Any]:
    """Return attributes as a mapping, from one or from OTLP's list of keys and typed values."""
    if isinstance(value, dict):
        return {str(name): each for name, each in value.items()}
    pairs = value if isinstance(value, list) else []
    return {str(pair["key"]): _typed(pair.get("value")) for pair in pairs if isinstance(pair, dict) and "key" in pair}


def _typed(value: Any) -> Any:
    if not isinstance(value, dict) or len(value) != 1:
        return value
    kind, inner = next(iter(value.items()))
    if kind == "arrayValue" and isinstance(inner, dict):
        return [_typed(each) for each in _listed(inner, "values")]
    if kind == "kvlistValue" and isinstance(inner, dict):
        return _attributes(inner.get("values"))
    return inner


def _events(span: Values) -> list[Mapping[str, Any]]:
    events = span.get("events")
    return [event for event in events if isinstance(event, dict)] if isinstance(events, list) else []


def translate(record: Values, columns: Columns) -> Iterator[Plain]:
    """Yield a conversation for each span that kept its messages; a trace is a group."""
    found = False
    for span in _spans(record):
        if _is_generation(span):
            attributes = _attributes(span.get("attributes"))
            turns = _modern(attributes) or _indexed(attributes) or _from_events(span)
            if turns:
                found = True
                group = span.get("traceId") or span.get("trace_id") or attributes.get("gen_ai.conversation.id")
                yield chat(turns, tools=_opened(attributes.get(_TOOLS)), group=str(group) if group else None)
    if not found:
        raise UnusableRow("a span without its messages", "switch on the capture of message content where it is traced")


def _modern(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Read messages of parts (conventions from 1.37 on)."""
    asked, answered = _opened(attributes.get(_INPUT)), _opened(attributes.get(_OUTPUT))
    if not isinstance(asked, list) or not isinstance(answered, list):
        return []
    system = _opened(attributes.get(_SYSTEM))
    told = [{"role": "system", "parts": system}] if isinstance(system, list) else []
    return [turn for message in (*told, *asked, *answered) if isinstance(message, dict) for turn in _turns(message)]


def _turns(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    parts = message.get("parts")
    if not isinstance(parts, list):
        return [{"role": message.get("role"), "content": message.get("content")}]
    said: list[str] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            said.append(str(part.get("content", "")))
        elif kind == "tool_call":
            calls.append(call(part.get("id"), part.get("name"), part.get("arguments", {})))
        elif kind == "tool_call_response":
            content = part.get("response", part.get("result"))
            content = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
            results.append({"role": "tool", "content": content, "tool_call_id": str(part.get("id"))})
        elif kind != "reasoning":
            raise UnusableRow("a turn has a part that is not text", f"a part of type {str(kind)[:40]!r}")
    spoken: dict[str, Any] = {"role": message.get("role"), "content": "".join(said)}
    spoken |= {"tool_calls": calls} if calls else {}
    return [*results, *([spoken] if said or calls else [])]


def _indexed(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Read messages spread over numbered attributes: `gen_ai.prompt.0.role`, `gen_ai.completion.0.content`."""
    turns = []
    for kind in ("prompt", "completion"):
        place = 0
        while (content := attributes.get(f"gen_ai.{kind}.{place}.content")) is not None:
            usual = "user" if kind == "prompt" else "assistant"
            turns.append({"role": attributes.get(f"gen_ai.{kind}.{place}.role", usual), "content": content})
            place += 1
    return turns


def _from_events(span: Values) -> list[dict[str, Any]]:
    """Read one event a message (conventions before 1.37)."""
    turns = []
    for event in _events(span):
        role = _EVENTS.get(str(event.get("name")))
        if role is not None:
            body = _attributes(event.get("attributes"))
            message = _opened(body.get("message"))
            message = message if isinstance(message, dict) else body
            calls = _opened(message.get("tool_calls"))
            turn = {"role": role, "content": message.get("content") or message.get("gen_ai.event.content")}
            turn |= {"tool_calls": calls} if isinstance(calls, list) else {}
            turns.append(turn | ({"tool_call_id": str(message["id"])} if role == "tool" and "id" in message else {}))
    return turns


def _opened(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value


FORMAT = Foreign(name="opentelemetry", says="OpenTelemetry spans of models", fits=fits, translate=translate)
