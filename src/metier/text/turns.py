"""A turn as the chat template is shown it, and what an assistant's turn says."""

import json
from typing import Any

from metier.core import digest
from metier.core.types import Message
from metier.text.template import Template
from metier.text.thought import spoken


def as_seen(message: Message, template: Template) -> dict[str, Any]:
    """Return the message for the template; tool-call arguments stay the text they were, unless it wants objects."""
    data = message.as_dict()
    if message.tool_calls and template.parsed_arguments:
        data["tool_calls"] = [_with_parsed_arguments(call) for call in message.tool_calls]
    return data


def _with_parsed_arguments(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, dict):
        return call
    return {**call, "function": {**function, "arguments": _parsed(function.get("arguments"))}}


def reference(message: Any) -> str:
    """Return what an assistant turn says: its text after any thinking, then its tool calls, one a line.

    Calls are canonical JSON.
    """
    said = spoken(message["content"] or "")
    lines = [said] if said else []
    for call in message.get("tool_calls", ()):
        function = call.get("function", call)
        arguments = _parsed(function.get("arguments", {}))
        lines.append(digest.canonical_json({"name": function.get("name"), "arguments": arguments}))
    return "\n".join(lines)


def _parsed(arguments: Any) -> Any:
    """Read arguments written as JSON text; text that is not JSON stays as it is."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments
