"""Bedrock: the Converse form, in which each block of a turn is an object with one key that says what it is."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from metier.text.formats.foreign.anthropic import call, system_turns
from metier.text.formats.foreign.kind import Columns, Foreign, Plain, Values, chat
from metier.text.messages import UnusableRow

_BLOCKS = {"text", "toolUse", "toolResult", "image", "document", "video", "reasoningContent", "cachePoint"}
_LEFT_OUT = {"reasoningContent", "cachePoint"}


def fits(record: Values, columns: Columns = {}) -> bool:  # noqa: B006 - never changed
    """Tell whether a record's turns consist of such blocks."""
    turns = record.get("messages")
    if str(record.get("schemaVersion", "")).startswith("bedrock-conversation"):
        return True
    if not isinstance(turns, list) or not turns:
        return False
    contents = [turn.get("content") for turn in turns if isinstance(turn, dict)]
    blocks = [block for content in contents if isinstance(content, list) for block in content]
    return bool(blocks) and all(isinstance(block, dict) and _key(block) and "type" not in block for block in blocks)


def _key(block: Mapping[str, Any]) -> str | None:
    return next((name for name in block if name in _BLOCKS), None)


def translate(record: Values, columns: Columns = {}) -> Iterator[Plain]:  # noqa: B006 - never changed
    """Yield the conversation."""
    turns = record.get("messages")
    if not isinstance(turns, list):
        raise UnusableRow("'messages' is not a list")
    spoken = [out for turn in turns if isinstance(turn, dict) for out in turns_of(turn)]
    yield chat([*system_turns(record.get("system")), *spoken], tools=tools_of(record.get("toolConfig")))


def turns_of(turn: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Turn one message into turns; see `anthropic.turns_of`."""
    content = turn.get("content")
    if not isinstance(content, list):
        return [{"role": turn.get("role"), "content": content}]
    said: list[str] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for block in content:
        key = _key(block) if isinstance(block, dict) else None
        value = block[key] if key else None
        if key == "text":
            said.append(str(value))
        elif key == "toolUse" and isinstance(value, dict):
            calls.append(call(value.get("toolUseId"), value.get("name"), value.get("input", {})))
        elif key == "toolResult" and isinstance(value, dict):
            results.append(_result(value))
        elif key not in _LEFT_OUT:
            raise UnusableRow("a turn has a part that is not text", f"a block {str(key)[:40]!r}")
    spoken: dict[str, Any] = {"role": turn.get("role"), "content": "".join(said)}
    spoken |= {"tool_calls": calls} if calls else {}
    return [*results, *([spoken] if said or calls else [])]


def _result(value: Mapping[str, Any]) -> dict[str, Any]:
    said = []
    parts = value.get("content")
    for part in parts if isinstance(parts, list) else []:
        if isinstance(part, dict) and "text" in part:
            said.append(str(part["text"]))
        elif isinstance(part, dict) and "json" in part:
            said.append(json.dumps(part["json"], ensure_ascii=False))
        else:
            raise UnusableRow("a turn has a part that is not text", "in the result of a tool")
    return {"role": "tool", "content": "".join(said), "tool_call_id": str(value.get("toolUseId"))}


def tools_of(configuration: Any) -> list[dict[str, Any]]:
    """Return the tools of a `toolConfig` in the common form."""
    tools = configuration.get("tools") if isinstance(configuration, dict) else None
    found = []
    for tool in tools if isinstance(tools, list) else []:
        told = tool.get("toolSpec") if isinstance(tool, dict) else None
        if isinstance(told, dict):
            schema = told.get("inputSchema")
            parameters = schema.get("json", schema) if isinstance(schema, dict) else {}
            described = {"description": told["description"]} if "description" in told else {}
            function = {"name": told.get("name")} | described | {"parameters": parameters}
            found.append({"type": "function", "function": function})
    return found


FORMAT = Foreign(name="bedrock", says="Bedrock Converse messages", fits=fits, translate=translate)
