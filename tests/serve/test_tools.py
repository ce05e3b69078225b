"""Tools with the official client: a call that comes back whole, in a stream and in the next turn."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from metier.serve.calls import ToolForm
from metier.serve.refusal import Refusal
from metier.serve.routes.chat import calling
from metier.serve.wire.inference import Function
from tests.conftest import TEMPLATE
from tests.serve.workshop import MODEL, application, templated

CALLING = TEMPLATE.replace(
    "{{ m['content'] }}",
    "{% if m['tool_calls'] %}{% for c in m['tool_calls'] %}<call>{{ c['function'] | tojson }}</call>{% endfor %}"
    "{% else %}{{ m['content'] }}{% endif %}",
).replace("{{ bos_token }}", "{{ bos_token }}{% if tools %}{{ tools | tojson }}{% endif %}")

SCHEMA = {
    "type": "object", "properties": {"kind": {"enum": ["card", "loan"]}, "urgent": {"type": "boolean"}},
    "required": ["kind", "urgent"], "additionalProperties": False,
}  # fmt: skip
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "description": "x", "parameters": SCHEMA}}
    for name in ("pay", "ask")
]
ASKED: list[Any] = [{"role": "user", "content": "card"}]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Iterator[openai.OpenAI]:
    """The official client in front of a base whose template writes calls; its weights are as random as ever."""
    shop = templated(tmp_path_factory.mktemp("tools"), tiny_base, CALLING)
    with application(shop) as inside:
        yield openai.OpenAI(base_url="http://localhost/v1", api_key="x", http_client=inside, max_retries=0)


def test_a_required_call_is_made_and_may_be_answered(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=ASKED, tools=TOOLS, tool_choice="required", max_tokens=300, seed=1
    ).choices[0]  # fmt: skip
    assert answer.finish_reason == "tool_calls"
    (call,) = answer.message.tool_calls or ()
    assert call.type == "function"
    assert call.function.name in ("pay", "ask")
    arguments = json.loads(call.function.arguments)
    assert arguments["kind"] in ("card", "loan")
    assert isinstance(arguments["urgent"], bool)
    result = {"role": "tool", "tool_call_id": call.id, "content": "4"}
    turns = [*ASKED, answer.message.model_dump(exclude_none=True), result]
    again = client.chat.completions.create(model=MODEL, messages=turns, tools=TOOLS, tool_choice="none", max_tokens=3)
    assert again.choices[0].finish_reason in ("stop", "length")


def test_the_tool_that_is_named_is_called_in_a_stream_too(client: openai.OpenAI) -> None:
    named: Any = {"type": "function", "function": {"name": "ask"}}
    name, arguments, finish = "", "", None
    for part in client.chat.completions.create(
        model=MODEL, messages=ASKED, tools=TOOLS, tool_choice=named, max_tokens=300, seed=2, stream=True
    ):  # fmt: skip
        for call in part.choices[0].delta.tool_calls or ():
            assert call.function is not None
            name += call.function.name or ""
            arguments += call.function.arguments or ""
        finish = part.choices[0].finish_reason or finish
    assert (name, finish) == ("ask", "tool_calls")
    assert set(json.loads(arguments)) == {"kind", "urgent"}


def test_a_tool_that_is_not_there_cannot_be_named(client: openai.OpenAI) -> None:
    named: Any = {"type": "function", "function": {"name": "other"}}
    with pytest.raises(openai.BadRequestError, match="not among the tools"):
        client.chat.completions.create(model=MODEL, messages=ASKED, tools=TOOLS, tool_choice=named)


def test_a_strict_tool_needs_calls_that_can_be_told_from_text() -> None:
    form = ToolForm(before="", after="", name="name", arguments="arguments")
    function = Function.model_validate(TOOLS[0]["function"] | {"strict": True})
    unread: Any = None
    with pytest.raises(Refusal, match="begin like text"):
        calling(form, [function], unread, must=False)
