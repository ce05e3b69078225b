"""Anthropic messages: the system prompt beside the turns, and turns whose content is a list of blocks."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metier.text.formats.foreign.kind import Columns, Foreign, Plain, Values, chat
from metier.text.messages import UnusableRow

_MARKS = ("tool_use", "tool_result", "thinking", "redacted_thinking")
_LEFT_OUT = ("thinking", "redacted_thinking")
"""Signed by the provider's model: nothing that another model could learn to say."""


def fits(record: Values, columns: Columns = {}) -> bool:  # noqa: B006 - never changed
    """Tell whether a record is a request in this form: plain role-and-text turns count only beside a system text."""
    turns = record.get("messages")
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
        return False
    if any(turn.get("role") not in ("user", "assistant") for turn in turns):
        return False
    blocks = [block for turn in turns if isinstance(turn.get("content"), list) for block in turn["content"]]
    marked = any(isinstance(block, dict) and block.get("type") in _MARKS for block in blocks)
    tools = record.get("tools")
    foreign_tools = isinstance(tools, list) and any(isinstance(tool, dict) and "input_schema" in tool for tool in tools)
    return marked or foreign_tools or isinstance(record.get("system"), str | list)


def translate(record: Values, columns: Columns = {}) -> Iterator[Plain]:  # noqa: B006 - never changed
    """Yield the conversation."""
    turns = [*system_turns(record.get("system")), *(out for turn in record["messages"] for out in turns_of(turn))]
    yield chat(turns, tools=tools_of(record.get("tools")))


def system_turns(system: Any) -> list[dict[str, Any]]:
    """Return the system text, or the blocks of it, as a turn."""
    if isinstance(system, list):
        system = "".join(block.get("text", "") for block in system if isinstance(block, dict))
    return [{"role": "system", "content": system}] if isinstance(system, str) and system.strip() else []


def turns_of(turn: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Turn one message into turns: results of tools become turns of their own, before what the user says."""
    content, role = turn.get("content"), turn.get("role")
    if not isinstance(content, list):
        return [{"role": role, "content": content}]
    said: list[str] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for block in content:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text":
            said.append(str(block.get("text", "")))
        elif kind == "tool_use":
            calls.append(call(block.get("id"), block.get("name"), block.get("input", {})))
        elif kind == "tool_result":
            results.append(_result(block))
        elif kind not in _LEFT_OUT:
            raise UnusableRow("a turn has a part that is not text", f"a block of type {str(kind)[:40]!r}")
    spoken: dict[str, Any] = {"role": role, "content": "".join(said)} | ({"tool_calls": calls} if calls else {})
    return [*results, *([spoken] if said or calls else [])]


def call(identifier: Any, name: Any, arguments: Any) -> dict[str, Any]:
    """Return a tool call in the common form, its arguments as JSON text."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {"id": str(identifier), "type": "function", "function": {"name": str(name), "arguments": text}}


def _result(block: Mapping[str, Any]) -> dict[str, Any]:
    content = block.get("content", "")
    if isinstance(content, list):
        if not all(isinstance(part, dict) and part.get("type") == "text" for part in content):
            raise UnusableRow("a turn has a part that is not text", "in the result of a tool")
        content = "".join(part["text"] for part in content)
    return {"role": "tool", "content": content, "tool_call_id": str(block.get("tool_use_id"))}


def tools_of(tools: Any) -> list[dict[str, Any]]:
    """Return tool schemas in the common form; those that are in it already stay as they are."""
    if not isinstance(tools, Sequence) or isinstance(tools, str):
        return []
    return [
        {"type": "function", "function": _function(tool, tool["input_schema"])}
        if isinstance(tool, dict) and "input_schema" in tool
        else tool
        for tool in tools
    ]


def _function(tool: Mapping[str, Any], schema: Any) -> dict[str, Any]:
    described = {"description": tool["description"]} if "description" in tool else {}
    return {"name": tool.get("name")} | described | {"parameters": schema}


FORMAT = Foreign(name="anthropic", says="Anthropic messages", fits=fits, translate=translate)
