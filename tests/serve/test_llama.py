"""The real server of llama.cpp behind our routes: what it answers, what it would ignore and is refused here."""

import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from metier.core import extras
from metier.promote.export.gguf.model import write_model
from metier.promote.far.wire import running
from metier.serve import run
from metier.serve.database import connect
from metier.serve.settings import ServeSettings
from metier.serve.tables import TRACES
from tests.conftest import TEMPLATE
from tests.serve.workshop import MODEL, application, templated

pytestmark = pytest.mark.skipif(
    bool(extras.missing("llama-cpp") or extras.missing("gguf")),
    reason="xllamacpp or gguf is not installed: pip install 'metier[llama-cpp,gguf]'",
)

CALLS = """{% for c in m['tool_calls'] %}<|spare0|>{"name": "{{ c['function']['name'] }}", "arguments":
{{ c['function']['arguments'] | tojson }}}<|spare1|>{% endfor %}""".replace("\n", " ")
CALLING = TEMPLATE.replace(
    "{{ m['content'] }}", "{% if m['tool_calls'] %}" + CALLS + "{% else %}{{ m['content'] }}{% endif %}"
).replace("{{ bos_token }}", "{{ bos_token }}{% if tools %}{{ tools | tojson }}{% endif %}")
BEGIN_OF_CALL = 7

ASKED: list[Any] = [{"role": "user", "content": "my card number 7"}]
LETTERS = {str(12 + place): 20.0 for place in range(64, 90)}
"""Whole letters are likelier than parts of them: what is written can be read."""
GREEDY: dict[str, Any] = {"messages": ASKED, "temperature": 0, "max_tokens": 8, "logit_bias": LETTERS}
KIND = {"type": "object", "properties": {"kind": {"enum": ["card", "loan"]}}, "required": ["kind"],
        "additionalProperties": False}  # fmt: skip
TOOLS: Any = [{"type": "function", "function": {"name": "pay", "description": "x", "parameters": KIND}}]

Sides = tuple[openai.OpenAI, openai.OpenAI, str, Path]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Iterator[Sides]:
    """Clients of one base as llama.cpp answers behind our routes and as we do, its name there, the traces' folder."""
    folder, store = tmp_path_factory.mktemp("llama"), tmp_path_factory.mktemp("front")
    shop = templated(folder, tiny_base, CALLING)
    path = folder / "model.gguf"
    write_model(folder / MODEL, path, precision="f32", name="random")
    child = [sys.executable, "-m", "metier.promote.far.llama_child", str(path), "", "1024"]
    with running(child, folder / "log") as address:
        upstream = run.open_upstream(ServeSettings(engine="llama.cpp", upstream=f"{address}/v1"))
        with (
            application(shop, store=store, upstream=upstream, engine="llama.cpp", record={"content": True}) as front,
            application(shop) as own,
        ):
            first, second = (
                openai.OpenAI(base_url="http://localhost/v1", api_key="x", http_client=client, max_retries=0)
                for client in (front, own)
            )
            yield first, second, first.models.list().data[0].id, store


def test_a_conversation_goes_on_as_it_does_here(sides: Sides) -> None:
    front, own, name, _ = sides
    wanted = own.chat.completions.create(model=MODEL, **GREEDY, logprobs=True, top_logprobs=3).choices[0]
    found = front.chat.completions.create(model=name, **GREEDY, logprobs=True, top_logprobs=3).choices[0]
    assert len(wanted.message.content or "") == 8
    assert (found.message.content, found.finish_reason) == (wanted.message.content, "length")
    for side in (wanted, found):
        assert side.logprobs is not None
        assert len(side.logprobs.content or ()) == 8
    for one, other in zip(found.logprobs.content, wanted.logprobs.content, strict=True):  # pyrefly: ignore
        assert one.token == other.token
        assert math.isclose(one.logprob, other.logprob, abs_tol=0.02)
        assert len(one.top_logprobs) == 3


def test_a_stream_says_what_the_whole_says_and_both_are_recorded(sides: Sides) -> None:
    front, _, name, store = sides
    whole = front.chat.completions.create(model=name, **GREEDY, user="ann")
    parts = list(
        front.chat.completions.create(
            model=name, **GREEDY, user="ann", stream=True, stream_options={"include_usage": True}
        )
    )
    said = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert said == whole.choices[0].message.content
    assert parts[-1].usage.completion_tokens == whole.usage.completion_tokens == 8  # pyrefly: ignore
    assert {part.id for part in parts} == {parts[0].id} != {whole.id}
    plain = front.completions.create(model=name, prompt="ab", max_tokens=4, temperature=0, logit_bias=LETTERS)
    streamed = front.completions.create(
        model=name, prompt="ab", max_tokens=4, temperature=0, logit_bias=LETTERS, stream=True
    )
    assert "".join(part.choices[0].text for part in streamed if part.choices) == plain.choices[0].text
    rows = recorded(store, {whole.id, parts[0].id})
    for id in (whole.id, parts[0].id):
        assert (rows[id].prompt_tokens, rows[id].completion_tokens) == (whole.usage.prompt_tokens, 8)  # pyrefly: ignore
        assert (rows[id].answer, rows[id].user, rows[id].model) == (said, "ann", name)


def recorded(store: Path, wanted: set[str]) -> dict[str, Any]:
    """Return the traces, once those wanted are there: they are written after the answer."""
    for _ in range(100):
        with connect(store).connect() as connection:
            rows = {row.id: row for row in connection.execute(TRACES.select()).all()}
        if wanted <= set(rows):
            break
        time.sleep(0.1)
    return rows


def test_a_required_call_is_made(sides: Sides) -> None:
    front, _, name, _ = sides
    asked: dict[str, Any] = {"messages": ASKED, "tools": TOOLS, "tool_choice": "required", "max_tokens": 300, "seed": 1}
    asked |= {"logit_bias": {str(BEGIN_OF_CALL): 100.0}}
    whole = front.chat.completions.create(model=name, **asked).choices[0]
    call: Any = (whole.message.tool_calls or ())[0]
    assert call.function.name == "pay"
    assert json.loads(call.function.arguments)["kind"] in ("card", "loan")
    called, arguments = "", ""
    for part in front.chat.completions.create(model=name, **asked, stream=True):
        for piece in part.choices[0].delta.tool_calls or ():
            if piece.index == 0 and piece.function is not None:
                called += piece.function.name or ""
                arguments += piece.function.arguments or ""
    assert (called, json.loads(arguments)) == ("pay", json.loads(call.function.arguments))


def test_an_answer_follows_its_schema(sides: Sides) -> None:
    front, _, name, _ = sides
    shape: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": KIND}}
    answer = front.chat.completions.create(model=name, messages=ASKED, response_format=shape, max_tokens=200)
    assert json.loads(answer.choices[0].message.content or "")["kind"] in ("card", "loan")


def test_json_that_is_cut_off_ends_for_its_length(sides: Sides) -> None:
    """As with hosted models: 200 and what there is, whoever answers, whole or streamed."""
    front, own, name, _ = sides
    for client, model in ((front, name), (own, MODEL)):
        for shape in ({"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "a", "schema": KIND}}):
            asked: dict[str, Any] = {"model": model, "messages": ASKED, "response_format": shape, "max_tokens": 1}
            whole = client.chat.completions.create(**asked, temperature=0)
            assert (whole.choices[0].finish_reason, whole.usage.completion_tokens) == ("length", 1)  # pyrefly: ignore
            parts = list(client.chat.completions.create(**asked, temperature=0, stream=True))
            assert parts[-1].choices[0].finish_reason == "length"
            said = "".join(part.choices[0].delta.content or "" for part in parts)
            assert said.strip() == (whole.choices[0].message.content or "").strip()  # llama.cpp streams no white end


def test_a_token_that_is_none_has_no_bias(sides: Sides) -> None:
    front, own, name, _ = sides
    for client, model in ((front, name), (own, MODEL)):
        for size in ("268", "99999999999999999999"):
            with pytest.raises(openai.BadRequestError, match="ids below 268") as refused:
                client.chat.completions.create(model=model, messages=ASKED, logit_bias={size: 1}, max_tokens=1)
            assert refused.value.param == "logit_bias"
        assert client.chat.completions.create(model=model, messages=ASKED, logit_bias={"267": 1}, max_tokens=1)


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("n", {"n": 2}), ("seed", {"seed": -1}), ("seed", {"seed": 2**32}), ("logit_bias", {"logit_bias": {"x": 1}}),
    ("parallel_tool_calls", {"tools": TOOLS, "parallel_tool_calls": False}),
    ("tool_choice", {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "pay"}}}),
]  # fmt: skip
REFUSED_OF_TEXT: list[tuple[str, dict[str, Any]]] = [
    ("prompt", {"prompt": ["ab", "c"]}), ("prompt", {"prompt": [[20], [30]]}), ("echo", {"echo": True}),
    ("logprobs", {"logprobs": 0}), ("max_tokens", {"max_tokens": 0}), ("n", {"n": 2}),
]  # fmt: skip


def test_what_it_would_not_obey_is_refused_by_name(sides: Sides) -> None:
    front, _, name, _ = sides
    for param, asked in REFUSED:
        with pytest.raises(openai.BadRequestError) as refused:
            front.chat.completions.create(**({"model": name, "messages": ASKED} | asked))
        assert refused.value.body["param"] == param  # pyrefly: ignore
        assert "llama.cpp" in refused.value.message
    for param, asked in REFUSED_OF_TEXT:
        with pytest.raises(openai.BadRequestError) as refused:
            front.completions.create(**({"model": name, "prompt": "ab"} | asked))
        assert refused.value.body["param"] == param  # pyrefly: ignore
    assert front.completions.create(model=name, prompt=[40, 41], max_tokens=1).usage is not None


def test_its_own_refusals_come_through_in_words(sides: Sides) -> None:
    front, _, name, _ = sides
    with pytest.raises(openai.BadRequestError, match="exceeds the available context"):
        front.chat.completions.create(model=name, messages=ASKED * 400)
    with pytest.raises(openai.InternalServerError) as fault:  # it was started without embeddings, which it calls 501
        front.embeddings.create(model=name, input="card")
    assert (fault.value.status_code, fault.value.body["code"]) == (502, "upstream")  # pyrefly: ignore


def test_a_name_that_it_does_not_serve_is_refused_and_is_no_label(sides: Sides) -> None:
    """Planted fault: llama.cpp answers by any name, and each became a label of the metrics."""
    front, _, name, _ = sides
    for number in range(3):
        with pytest.raises(openai.NotFoundError, match="not served here"):
            front.chat.completions.create(model=f"nobody-{number}", messages=ASKED)
    told = front.get("http://localhost/metrics", cast_to=str)
    assert name in told
    assert "nobody" not in told
