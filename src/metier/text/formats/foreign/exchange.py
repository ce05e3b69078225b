"""Logs of requests and responses: OpenAI, Anthropic and Bedrock bodies, as batch results and gateways keep them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from metier.text.formats.foreign import anthropic, bedrock
from metier.text.formats.foreign.kind import Columns, Foreign, Plain, Values, chat
from metier.text.messages import UnusableRow

_REQUESTS = ("request", "params", "input", "inputBodyJson", "request_body", "kwargs")
_RESPONSES = ("response", "result", "output", "outputBodyJson", "response_body", "completion")
_WRAPPERS = ("body", "inputBodyJson", "outputBodyJson", "message")


def fits(record: Values, columns: Columns) -> bool:
    """Tell whether a record holds a request with turns, and a response that a provider wrote."""
    request, response = _request(record), _response(record)
    return request is not None and response is not None


def _request(record: Values) -> Mapping[str, Any] | None:
    if isinstance(record.get("messages"), list):
        return record
    for name in _REQUESTS:
        inner = _opened(record.get(name))
        for wrapper in (None, *_WRAPPERS):
            found = inner if wrapper is None else _opened(inner.get(wrapper)) if inner else None
            if found and isinstance(found.get("messages"), list):
                return found
    return None


def _response(record: Values) -> Mapping[str, Any] | None:
    for name in _RESPONSES:
        inner = _opened(record.get(name))
        for wrapper in (None, *_WRAPPERS):
            found = inner if wrapper is None else _opened(inner.get(wrapper)) if inner else None
            if found and _spoken(found) is not None:
                return found
    return None


def _opened(value: Any) -> Mapping[str, Any] | None:
    """Return an object, also one that stands there as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def _spoken(body: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the turns that a response adds; None: it is none that we know."""
    choices, content, output = body.get("choices"), body.get("content"), body.get("output")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        message = choices[0].get("message")
        return [dict(message)] if isinstance(message, dict) else None
    if isinstance(content, list) and (body.get("role") == "assistant" or "stop_reason" in body):
        return anthropic.turns_of({"role": "assistant", "content": content})
    if isinstance(output, dict) and isinstance(output.get("message"), dict):
        return bedrock.turns_of(output["message"])
    return None


def translate(record: Values, columns: Columns) -> Iterator[Plain]:
    """Yield the conversation with the answer at its end."""
    request, response = _request(record), _response(record)
    if request is None or response is None:
        raise UnusableRow("a request without its response", "an error, or a log cut short")
    answer = _spoken(response)
    turns = request["messages"]
    if not answer or not all(isinstance(turn, dict) for turn in turns):
        raise UnusableRow("a response that says nothing")
    if bedrock.fits(request):
        (asked,) = bedrock.translate(request)
    elif anthropic.fits(request) or isinstance(response.get("content"), list):
        (asked,) = anthropic.translate(request)
    else:
        asked = chat(turns, tools=request.get("tools"), parallel_tool_calls=request.get("parallel_tool_calls"))
    yield Plain("chat", asked.record | {"messages": [*asked.record["messages"], *answer]})


FORMAT = Foreign(name="exchange", says="requests and their responses", fits=fits, translate=translate)
