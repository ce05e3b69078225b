"""A turn as the chat template is shown it, and what an assistant's turn says."""

import json
import re
from typing import Any

from metier.core import digest
from metier.core.types import Message
from metier.text.template import Template
from metier.text.thought import apart, spoken, thinking

_SHORT = re.compile(r"[A-Za-z0-9]{9}")


def as_seen(message: Message, template: Template) -> dict[str, Any]:
    """Return the message for the template; tool-call arguments stay the text they were, unless it wants objects.

    Ids of calls stay what they were, unless it refuses them: then each is made of the one that it was, so that a
    result still names its call. A turn that only calls has no text at all where that is how the template knows it.
    What was thought stands in a field of its own where the template looks for it there.
    """
    data = message.as_dict()
    if template.thinks_apart and message.role == "assistant" and (parts := apart(message.content)) is not None:
        data |= {"content": parts[1]} | thinking(parts[0])
    if template.null_content and message.tool_calls and not data["content"]:
        data["content"] = None
    if message.tool_calls and template.parsed_arguments:
        data["tool_calls"] = [_with_parsed_arguments(call) for call in message.tool_calls]
    if template.short_ids:
        calls = data.get("tool_calls")
        data |= {"tool_calls": [{**call, "id": _short(call.get("id"))} for call in calls]} if calls else {}
        data |= {"tool_call_id": _short(message.tool_call_id)} if message.tool_call_id is not None else {}
    return data


def _short(id: Any) -> str:
    text = id if isinstance(id, str) else ""
    return text if _SHORT.fullmatch(text) else digest.of_value(text)[:9]


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
