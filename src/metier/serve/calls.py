"""How a chat template writes tool calls, found by letting it write one; and how they are read back; no torch."""

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metier.core.errors import DataError
from metier.core.types import ChatRow, Message
from metier.text import layout
from metier.text.render import Renderer, conversation_of

_NAME, _KEY = "metier_probe", "metier_key"
_WORD = "METIERPROBE"
_MORE = re.compile(r"\s*[,;]\s*(?=\{)")
"""Between the calls of a list, as Mistral's models write them, and between calls that no mark parts (Llama's)."""
_PYTHON_TAG = "<|python_tag|>"
"""What Llama's models write before a call, though their template does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolForm:
    """A call is `before`, a JSON object with the function under `name` and its arguments under `arguments`, `after`."""

    before: str
    after: str
    name: str
    arguments: str

    def schema(self, function: dict[str, Any]) -> dict[str, Any]:
        """Return the schema of a call of one function."""
        parameters = function.get("parameters") or {"type": "object"}
        return {
            "type": "object",
            "properties": {self.name: {"const": function["name"]}, self.arguments: parameters},
            "required": [self.name, self.arguments],
            "additionalProperties": False,
        }

    def read(self, text: str) -> tuple[str, list[dict[str, Any]]]:
        """Return what an answer says beside its calls, and the calls as the API writes them.

        White space before a call, between calls and behind them is the template's, not part of what is said: sent
        back, it would be written twice.
        """
        calls: list[dict[str, Any]] = []
        rest, place, mark = "", 0, self.before.strip()
        if not mark and text.lstrip().startswith(_PYTHON_TAG):
            place = text.index(_PYTHON_TAG) + len(_PYTHON_TAG)
        while True:
            start = text.find(mark, place)
            found = self._call(text, start + len(mark)) if start >= 0 else None
            if found is None:
                return (rest + text[place:].rstrip() if calls else text), calls
            rest += text[place:start].strip() if calls else text[place:start].rstrip()
            while found is not None:
                call, place = found
                calls.append(call)
                more = _MORE.match(text, place)
                found = self._call(text, more.end()) if more else None
            place = self._closed(text, place)

    def _closed(self, text: str, place: int) -> int:
        """Return where what stands behind a call ends."""
        tail = place + len(text[place:]) - len(text[place:].lstrip())
        closing = self.after.strip()
        return tail + len(closing) if closing and text.startswith(closing, tail) else place

    def _call(self, text: str, start: int) -> tuple[dict[str, Any], int] | None:
        begin = start + len(text[start:]) - len(text[start:].lstrip())
        try:
            value, end = json.JSONDecoder().raw_decode(text, begin)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict) or not isinstance(value.get(self.name), str) or self.arguments not in value:
            return None
        arguments = value[self.arguments]
        written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        function = {"name": value[self.name], "arguments": written}
        return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}, end


def tool_form(renderer: Renderer) -> ToolForm:
    """Find out how a template writes a call.

    Raises:
        DataError: it writes none, or not as one JSON object.
    """
    call = {"id": "call_0", "type": "function", "function": {"name": _NAME, "arguments": json.dumps({_KEY: 1})}}
    asked = Message(role="user", content="?")
    written = _answer(renderer, (asked, Message(role="assistant", tool_calls=(call,))))
    said = _answer(renderer, (asked, Message(role="assistant", content=_WORD)))
    ending = said.partition(_WORD)[2]
    for start in (place for place, sign in enumerate(written) if sign == "{"):
        try:
            value, end = json.JSONDecoder().raw_decode(written, start)
        except ValueError:
            continue
        names = {_kind(entry): name for name, entry in value.items()} if isinstance(value, dict) else {}
        if "name" in names and "arguments" in names and written.endswith(ending):
            after = written[end : len(written) - len(ending)]
            return ToolForm(before=written[:start], after=after, name=names["name"], arguments=names["arguments"])
    raise DataError(
        f"{renderer.template.name} writes no tool calls that can be read back", "a template with tool calls as JSON",
        "leave 'tools' out, or serve a model whose template has them",
    )  # fmt: skip


def _kind(value: Any) -> str:
    if value == _NAME:
        return "name"
    return "arguments" if value in ({_KEY: 1}, json.dumps({_KEY: 1})) else ""


def _answer(renderer: Renderer, messages: Sequence[Message]) -> str:
    """Return what a template writes for the last turn."""
    row = ChatRow(id="", source="probe", messages=tuple(messages))
    conversation = conversation_of(row, renderer)
    count = len(conversation.messages)
    (texts,) = layout.render_marked(
        [(conversation, [(count - 1, True), (count, False)])], renderer.tokenizer, renderer.template
    )
    if isinstance(texts, DataError):
        raise texts
    prompt, whole = (text.clean for text in texts)
    return whole.removeprefix(prompt)
