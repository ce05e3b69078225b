"""Every field of every request to a model is obeyed or refused: one case a field, and no field without a case."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from pydantic import BaseModel
from starlette.testclient import TestClient

from metier.serve.database import connect
from metier.serve.refusal import Refusal
from metier.serve.tables import FEEDBACK, TRACES
from metier.serve.wire import decisions, inference
from metier.serve.wire.body import Body
from metier.serve.wire.inference import ChatBody, CompletionBody, EmbeddingBody
from metier.serve.wire.rules import check_handed
from metier.text.tokenizer import Tokenizer
from tests.serve.test_tools import CALLING
from tests.serve.workshop import MODEL, Shop, application

CHAT, PLAIN, VECTOR, DECIDE = "chat/completions", "completions", "embeddings", "decisions"
HERE = {"host": "localhost"}
TEMPLATE = CALLING.replace("<call>", "@").replace("</call>", "#").replace(
    "{% for m in messages %}",
    "{% for m in messages %}{% if m['name'] %}{{ m['name'] }}{% endif %}"
    "{% if m['tool_call_id'] %}{{ m['tool_call_id'] }}{% endif %}"
    "{% for c in (loop.previtem['tool_calls'] if loop.previtem else []) or [] %}{{ c['id'] }}{% endfor %}",
)  # fmt: skip
SCHEMA = {"type": "object", "properties": {"kind": {"enum": ["card"]}}, "required": ["kind"]}
SCHEMA |= {"additionalProperties": False}


def tool(name: str = "pay", **changes: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": SCHEMA} | changes}


def called(**changes: Any) -> list[dict[str, Any]]:
    """A call in the history. `changes`: `id`, `type` of the call, `name` and `arguments` of its function."""
    function = {"name": "pay", "arguments": "{}"} | {k: changes.pop(k) for k in ("name", "arguments") if k in changes}
    call = {"id": "c1", "type": "function", "function": function} | changes
    return [USER, {"role": "assistant", "content": "", "tool_calls": [call]}, USER]


def pick(**changes: Any) -> dict[str, Any]:
    return {"tools": [tool(), tool("ask")], "tool_choice": {"type": "function", "function": {"name": "pay"}}} | changes


def shaped(**changes: Any) -> dict[str, Any]:
    shape = {"name": "a", "schema": SCHEMA} | changes
    return {"response_format": {"type": "json_schema", "json_schema": shape}, "max_tokens": 100}


def choose(**changes: Any) -> dict[str, Any]:
    choices = [{"value": "card"}, {"value": "loan"}]
    return {"questions": [{"type": "choice", "instructions": "", "choices": choices} | changes]}


def ask(**changes: Any) -> dict[str, Any]:
    return {"questions": [{"type": "predicate", "instructions": "a card?"} | changes]}


def score(**changes: Any) -> dict[str, Any]:
    levels = [{"label": "low"}, {"label": "high"}]
    return {"questions": [{"type": "score", "instructions": "", "levels": levels} | changes]}


USER = {"role": "user", "content": "card"}
BESIDE = "provider_specific_fields"
TALK = {"role": "assistant", "content": "loan"}
LEAST: dict[str, dict[str, Any]] = {
    CHAT: {"model": MODEL, "messages": [USER], "max_tokens": 6, "seed": 5},
    PLAIN: {"model": MODEL, "prompt": "ab", "max_tokens": 6, "seed": 5},
    VECTOR: {"model": MODEL, "input": "card"},
    DECIDE: {"model": MODEL, "input": "my card", **choose()},
}
TURN = {"role": "user", "content": "card"}
NO_CALLS: dict[str, Any] = {"tools": [tool()], "tool_choice": "none"}
MUST: dict[str, Any] = {"tools": [tool()], "tool_choice": "required", "max_tokens": 200}

CHANGES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "Sampled.max_tokens": (CHAT, {}, {"max_tokens": 2}),
    "Sampled.temperature": (CHAT, {}, {"temperature": 0}),
    "Sampled.top_p": (CHAT, {}, {"top_p": 1e-6}),
    "Sampled.top_k": (CHAT, {}, {"top_k": 1}),
    "Sampled.n": (CHAT, {}, {"n": 2}),
    "Sampled.stop": (CHAT, {"logit_bias": {"80": 100}}, {"logit_bias": {"80": 100}, "stop": "ee"}),
    "Sampled.seed": (CHAT, {}, {"seed": 6}),
    "Sampled.presence_penalty": (
        CHAT, {"temperature": 0, "logit_bias": {"80": 1}},
        {"temperature": 0, "logit_bias": {"80": 1}, "presence_penalty": 2}),
    "Sampled.frequency_penalty": (CHAT, {"logit_bias": {"80": 8}}, {"logit_bias": {"80": 8}, "frequency_penalty": 2}),
    "Sampled.logit_bias": (CHAT, {}, {"logit_bias": {"80": 100}}),
    "Sampled.stream": (CHAT, {}, {"stream": True}),
    "Sampled.stream_options": (CHAT, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
    "StreamOptions.include_usage": (
        CHAT, {"stream": True, "stream_options": {}}, {"stream": True, "stream_options": {"include_usage": True}}),
    "TextPart.text": (CHAT, {"messages": [USER | {"content": [{"type": "text", "text": "a"}]}]},
                      {"messages": [USER | {"content": [{"type": "text", "text": "bcd"}]}]}),
    "Called.name": (CHAT, {"messages": called()}, {"messages": called(name="other")}),
    "Called.arguments": (CHAT, {"messages": called()}, {"messages": called(arguments='{"a": 1}')}),
    "ToolCall.id": (CHAT, {"messages": called()}, {"messages": called(id="call-two")}),
    "ToolCall.function": (CHAT, {"messages": called()}, {"messages": called(name="others")}),
    "ChatMessage.role": (CHAT, {"messages": [USER, USER]}, {"messages": [USER | {"role": "system"}, USER]}),
    "ChatMessage.content": (CHAT, {}, {"messages": [USER | {"content": "loan and more"}]}),
    "ChatMessage.name": (CHAT, {}, {"messages": [USER | {"name": "ann"}]}),
    "ChatMessage.reasoning_content": (
        CHAT, {"messages": [USER, TALK, USER]}, {"messages": [USER, TALK | {"reasoning_content": "hm"}, USER]}),
    "ChatMessage.tool_calls": (CHAT, {"messages": [USER, {"role": "assistant", "content": ""}, USER]},
                               {"messages": called()}),
    "ChatMessage.tool_call_id": (
        CHAT, {"messages": [*called(), {"role": "tool", "content": "4", "tool_call_id": "c1"}]},
        {"messages": [*called(id="call-two"), {"role": "tool", "content": "4", "tool_call_id": "call-two"}]}),
    "Function.name": (CHAT, NO_CALLS, NO_CALLS | {"tools": [tool("other")]}),
    "Function.description": (CHAT, NO_CALLS, NO_CALLS | {"tools": [tool(description="pays")]}),
    "Function.parameters": (CHAT, NO_CALLS, NO_CALLS | {"tools": [tool(parameters={"type": "object"})]}),
    "Tool.function": (CHAT, NO_CALLS, NO_CALLS | {"tools": [tool("third")]}),
    "NamedFunction.name": (
        CHAT, pick(max_tokens=200),
        pick(max_tokens=200, tool_choice={"type": "function", "function": {"name": "ask"}})),
    "NamedTool.function": (
        CHAT, pick(max_tokens=200),
        pick(max_tokens=200, tool_choice={"type": "function", "function": {"name": "ask"}})),
    "Schema.schema_": (CHAT, shaped(), shaped(schema=SCHEMA | {"properties": {"kind": {"enum": ["loan"]}}})),
    "ResponseFormat.json_schema": (CHAT, {"response_format": {"type": "json_object"}, "max_tokens": 100}, shaped()),
    "ResponseFormat.type": (CHAT, {"response_format": {"type": "text"}}, {"response_format": {"type": "json_object"}}),
    "ChatBody.messages": (CHAT, {}, {"messages": [USER, USER]}),
    "ChatBody.max_completion_tokens": (CHAT, {"max_tokens": None, "max_completion_tokens": 3},
                                       {"max_tokens": None, "max_completion_tokens": 2}),
    "ChatBody.logprobs": (CHAT, {}, {"logprobs": True}),
    "ChatBody.top_logprobs": (CHAT, {"logprobs": True}, {"logprobs": True, "top_logprobs": 2}),
    "ChatBody.tools": (CHAT, {}, NO_CALLS),
    "ChatBody.tool_choice": (CHAT, NO_CALLS, MUST | {"max_tokens": 6}),
    "ChatBody.response_format": (CHAT, {}, {"response_format": {"type": "json_object"}}),
    "CompletionBody.prompt": (PLAIN, {}, {"prompt": "cd"}),
    "CompletionBody.max_tokens": (PLAIN, {}, {"max_tokens": 2}),
    "CompletionBody.echo": (PLAIN, {}, {"echo": True}),
    "CompletionBody.logprobs": (PLAIN, {}, {"logprobs": 1}),
    "EmbeddingBody.input": (VECTOR, {}, {"input": "loan"}),
    "EmbeddingBody.encoding_format": (VECTOR, {}, {"encoding_format": "base64"}),
    "InputPart.text": (DECIDE, {"input": [TURN | {"content": [{"type": "text", "text": "a"}]}]},
                       {"input": [TURN | {"content": [{"type": "text", "text": "bcd"}]}]}),
    "InputMessage.role": (DECIDE, {"input": [TURN, TURN]}, {"input": [TURN | {"role": "assistant"}, TURN]}),
    "InputMessage.content": (DECIDE, {"input": [TURN]}, {"input": [TURN | {"content": "loan"}]}),
    "Choice.value": (DECIDE, choose(), choose(choices=[{"value": "card"}, {"value": True}])),
    "Choice.description": (DECIDE, choose(),
                           choose(choices=[{"value": "card", "description": "of plastic"}, {"value": "loan"}])),
    "Level.label": (DECIDE, score(), score(levels=[{"label": "low"}, {"label": "higher"}])),
    "Level.description": (DECIDE, score(), score(levels=[{"label": "low", "description": "calm"}, {"label": "high"}])),
    "Predicate.type": (DECIDE, ask(), choose()),
    "Predicate.instructions": (DECIDE, ask(), ask(instructions="a loan?")),
    "Predicate.name": (DECIDE, ask(), ask(name="card")),
    "ChoiceQuestion.type": (DECIDE, choose(), score()),
    "ChoiceQuestion.instructions": (DECIDE, choose(), choose(instructions="which?")),
    "ChoiceQuestion.choices": (DECIDE, choose(), choose(choices=[{"value": "loan"}, {"value": "card"}])),
    "ChoiceQuestion.name": (DECIDE, choose(), choose(name="kind")),
    "ScoreQuestion.type": (DECIDE, score(), ask()),
    "ScoreQuestion.instructions": (DECIDE, score(), score(instructions="how much?")),
    "ScoreQuestion.levels": (DECIDE, score(), score(levels=[{"label": "high"}, {"label": "low"}])),
    "ScoreQuestion.name": (DECIDE, score(), score(name="much")),
    "DecisionBody.input": (DECIDE, {}, {"input": "my loan"}),
    "DecisionBody.questions": (DECIDE, {}, {"questions": ask()["questions"] * 2}),
}  # fmt: skip

REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "Sampled.model": (CHAT, {"model": "nobody"}, "not served here"),
    "EmbeddingBody.model": (VECTOR, {"model": "nobody"}, "not served here"),
    "DecisionBody.model": (DECIDE, {"model": "nobody"}, "not served here"),
    "TextPart.type": (CHAT, {"messages": [USER | {"content": [{"type": "x", "text": "a"}]}]}, "type"),
    "ToolCall.type": (CHAT, {"messages": called(type="x")}, "type"),
    "ChatMessage.refusal": (CHAT, {"messages": [USER | {"refusal": "no"}]}, "refusal"),
    "ChatMessage.audio": (CHAT, {"messages": [USER | {"audio": {"id": "a"}}]}, "audio"),
    "ChatMessage.function_call": (CHAT, {"messages": [USER | {"function_call": {"name": "pay"}}]}, "function_call"),
    "ChatMessage.annotations": (CHAT, {"messages": [USER | {"annotations": [{"type": "url"}]}]}, "annotations"),
    "ChatMessage.provider_specific_fields": (CHAT, {"messages": [USER | {BESIDE: "x"}]}, BESIDE),
    "Beside.refusal": (CHAT, {"messages": [USER | {BESIDE: {"refusal": "no"}}]}, f"{BESIDE}.refusal"),
    "StreamOptions.include_obfuscation": (
        CHAT,
        {"stream": True, "stream_options": {"include_obfuscation": True}},
        "include_obfuscation",
    ),
    "ChatBody.store": (CHAT, {"store": True}, "store"),
    "ChatBody.service_tier": (CHAT, {"service_tier": "flex"}, "service_tier"),
    "ChatBody.modalities": (CHAT, {"modalities": ["text", "audio"]}, "modalities"),
    "Tool.type": (CHAT, {"tools": [tool() | {"type": "x"}]}, "type"),
    "NamedTool.type": (CHAT, pick(tool_choice={"type": "x", "function": {"name": "pay"}}), "tool_choice"),
    "Schema.description": (CHAT, shaped(description="a kind"), "does not read it"),
    "ChatBody.metadata": (CHAT, {"metadata": {"a": "b"}}, "nothing is stored"),
    "CompletionBody.suffix": (PLAIN, {"suffix": "x"}, "suffix"),
    "CompletionBody.best_of": (PLAIN, {"best_of": 2}, "best_of"),
    "EmbeddingBody.dimensions": (VECTOR, {"dimensions": 8}, "width"),
    "InputPart.type": (DECIDE, {"input": [TURN | {"content": [{"type": "x", "text": "a"}]}]}, "type"),
    "InputMessage.type": (DECIDE, {"input": [TURN | {"type": "x"}]}, "type"),
}

ELSEWHERE = {
    "Schema.name": "a label for the caller's own use, which changes nothing that could be told",
    "Schema.strict": "test_a_schema_is_followed_strict_or_not",
    "Function.strict": "test_a_strict_tool_is_called_by_its_schema",
    "ChatBody.parallel_tool_calls": "test_calls_at_once_are_told_or_cut_to_one",
    "Sampled.user": "test_who_asks_and_what_is_thought_of_it_is_recorded",
    "ChatBody.safety_identifier": "test_who_asks_and_what_is_thought_of_it_is_recorded",
    "ChatBody.prompt_cache_key": "test_what_is_so_anyway_may_be_said",
    "EmbeddingBody.user": "test_who_asks_and_what_is_thought_of_it_is_recorded",
    "DecisionBody.safety_identifier": "test_who_asks_and_what_is_thought_of_it_is_recorded",
    **{f"FeedbackBody.{name}": "test_who_asks_and_what_is_thought_of_it_is_recorded"
       for name in ("id", "thumbs", "score", "correction", "comment")},
}  # fmt: skip


def fields() -> set[str]:
    """Return CLASS.FIELD of every request to a model; an inherited field under the class that first has it."""
    found: set[str] = set()
    for module in (inference, decisions):
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not Body:
                found |= {f"{kind.__name__}.{name}" for name in vars(kind).get("__annotations__", {})}
    return found


def test_no_field_is_without_a_case() -> None:
    cases = [*CHANGES, *REFUSED, *ELSEWHERE]
    assert len(cases) == len(set(cases))
    assert fields() == set(cases)
    assert len(cases) > 80


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fields")


@pytest.fixture(scope="module")
def client(store: Path, tiny_base: Path) -> Iterator[TestClient]:
    """A base whose template writes everything that a conversation holds; its weights are as random as ever."""
    base = store / MODEL
    base.mkdir()
    for path in tiny_base.iterdir():
        if path.name not in ("tokenizer_config.json", "config.json"):
            (base / path.name).symlink_to(path)
    config = json.loads((tiny_base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": TEMPLATE}))
    config = json.loads((tiny_base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1024}))
    (store / "metier.yaml").write_text(f"base: {MODEL}\ndata: none.jsonl\n")
    with application(Shop(store)) as inside:
        yield inside


def told(client: TestClient, path: str, changes: dict[str, Any]) -> str:
    """Return what is answered, without what differs each time."""
    answer = client.post(f"/v1/{path}", json=LEAST[path] | changes, headers=HERE)
    assert answer.status_code == 200, answer.text
    lines = [json.loads(line.removeprefix("data:")) for line in answer.text.splitlines() if line[-1:] == "}"]
    assert lines
    for line in lines:
        for name in ("id", "created"):
            line.pop(name, None)
        (line.get("usage") or {}).pop("prompt_tokens_details", None)
        for choice in line.get("choices", ()):
            for call in choice.get("message", {}).get("tool_calls") or ():
                call.pop("id")
    return json.dumps(lines)


@pytest.mark.parametrize("name", CHANGES)
def test_a_field_changes_what_is_answered(name: str, client: TestClient) -> None:
    path, before, after = CHANGES[name]
    first = told(client, path, before)
    assert told(client, path, before) == first  # the planted fault: noise would pass for obedience
    assert told(client, path, after) != first


@pytest.mark.parametrize("name", REFUSED)
def test_a_field_is_refused_by_name(name: str, client: TestClient) -> None:
    path, changes, words = REFUSED[name]
    answer = client.post(f"/v1/{path}", json=LEAST[path] | changes, headers=HERE)
    assert answer.status_code in (400, 404), answer.text
    assert words in answer.text
    assert answer.json()["error"]["param"]


@pytest.mark.parametrize("texts", ["", ["card", ""]])
def test_an_empty_text_has_no_vector(texts: str | list[str], client: TestClient) -> None:
    answer = client.post(f"/v1/{VECTOR}", json=LEAST[VECTOR] | {"input": texts}, headers=HERE)
    assert answer.status_code == 400
    assert "empty text" in answer.text
    assert answer.json()["error"]["param"] == "input"


def test_what_is_so_anyway_may_be_said(client: TestClient) -> None:
    """Clients send what they were told, and what hosted models are asked for by habit; nothing of it is ignored."""
    plain = told(client, CHAT, {})
    habits = {"store": False, "service_tier": "auto", "modalities": ["text"], "metadata": None, "prompt_cache_key": "a"}
    for same in ({name: value} for name, value in habits.items()):
        assert told(client, CHAT, same) == plain
    answered = client.post(f"/v1/{CHAT}", json=LEAST[CHAT], headers=HERE).json()["choices"][0]["message"]
    empty = {"annotations": [], "audio": None, "function_call": None, "refusal": None}
    empty |= {BESIDE: {"refusal": None}}
    turns = [[USER, answered, USER], [USER, answered | empty, USER]]
    assert told(client, CHAT, {"messages": turns[0]}) == told(client, CHAT, {"messages": turns[1]}) != plain
    clear = {"stream": True, "stream_options": {"include_obfuscation": False}}
    assert told(client, CHAT, clear) == told(client, CHAT, {"stream": True})


@pytest.fixture(scope="module")
def bias(tiny_base: Path) -> dict[str, float]:
    """Call as often as may be, and put no spaces into JSON, which could be there without end."""
    tokenizer = Tokenizer.load(tiny_base)
    wanted = dict.fromkeys(" \n\r\t", -100.0) | {"@": 100.0}
    return {str(tokenizer.encode(sign, special=False)[0]): value for sign, value in wanted.items()}


def message(client: TestClient, changes: dict[str, Any]) -> dict[str, Any]:
    (line,) = json.loads(told(client, CHAT, changes))
    return line["choices"][0]["message"]


def test_a_schema_is_followed_strict_or_not(client: TestClient, bias: dict[str, float]) -> None:
    for strict in (True, False):
        said = message(client, shaped(strict=strict) | {"logit_bias": bias})["content"]
        assert json.loads(said) == {"kind": "card"}


@pytest.mark.parametrize("choice", [{}, {"tool_choice": "auto"}])
def test_a_strict_tool_is_called_by_its_schema(
    client: TestClient, bias: dict[str, float], choice: dict[str, Any]
) -> None:
    asked: dict[str, Any] = {"max_tokens": 150, "logit_bias": bias} | choice
    made = message(client, asked | {"tools": [tool(strict=True), tool("ask", strict=True)]})["tool_calls"]
    for call in made[:-1]:
        assert call["function"]["name"] in ("pay", "ask")
        assert json.loads(call["function"]["arguments"]) == {"kind": "card"}
    free = message(client, asked | {"tools": [tool()]})
    assert "tool_calls" not in free  # the planted fault: what nothing holds is no call
    said = message(client, {"tools": [tool(strict=True)]})
    assert "tool_calls" not in said  # nor does anything have to be called


def test_calls_at_once_are_told_or_cut_to_one(client: TestClient, bias: dict[str, float]) -> None:
    asked: dict[str, Any] = {"tools": [tool(strict=True)], "max_tokens": 200, "logit_bias": bias}
    counts = {
        several: len(message(client, asked | {"parallel_tool_calls": several})["tool_calls"])
        for several in (True, False)
    }
    assert counts[False] == 1 < counts[True]


def test_who_asks_and_what_is_thought_of_it_is_recorded(client: TestClient, store: Path) -> None:
    newer = "safety_identifier"
    names = [(CHAT, "user"), (CHAT, newer), (PLAIN, "user"), (VECTOR, "user"), (DECIDE, newer)]
    made = {}
    for path, name in names:
        answer = client.post(f"/v1/{path}", json=LEAST[path] | {name: f"ann {path} {name}"}, headers=HERE).json()
        made[answer["id"]] = f"ann {path} {name}"
    ((id, _), *_) = made.items()
    thought = {"thumbs": "up", "score": 0.75, "correction": "loan", "comment": "nearly"}
    assert client.post("/v1/feedback", json={"id": id, **thought}, headers=HERE).status_code == 201
    desk: Any = client.app_state  # pyrefly: ignore
    desk.recorder.close()
    with connect(store / ".metier").connect() as connection:
        users = {row.id: row.user for row in connection.execute(sql.select(TRACES)) if row.id in made}
        (kept,) = connection.execute(sql.select(FEEDBACK)).all()
    assert users == made
    assert {name: kept._mapping[name] for name in thought} == thought
    assert kept._mapping["trace"] == id


@pytest.mark.parametrize(
    ("kind", "engine", "changes", "words"),
    [
        (ChatBody, "vllm", {"metadata": {"a": "b"}}, "metadata"),
        (ChatBody, "vllm", {"top_logprobs": 2}, "top_logprobs"),
        (ChatBody, "vllm", {"tools": [tool(strict=True)]}, "strict"),
        (ChatBody, "vllm", shaped(description="x"), "description"),
        (ChatBody, "llama.cpp", pick(), "takes no name"),
        (CompletionBody, "vllm", {"stream_options": {}}, "no stream"),
        (EmbeddingBody, "llama.cpp", {"dimensions": 4}, "width"),
    ],
)
def test_what_another_server_would_ignore_is_refused_in_front_of_it(
    kind: Any, engine: str, changes: dict[str, Any], words: str
) -> None:
    path = {ChatBody: CHAT, CompletionBody: PLAIN, EmbeddingBody: VECTOR}[kind]
    check_handed(kind.model_validate(LEAST[path]), engine)
    with pytest.raises(Refusal, match=words):
        check_handed(kind.model_validate(LEAST[path] | changes), engine)
    if engine == "llama.cpp":
        check_handed(kind.model_validate(LEAST[path] | changes), "vllm")


def test_a_tool_that_must_be_called_may_be_strict_elsewhere_too() -> None:
    check_handed(ChatBody.model_validate(LEAST[CHAT] | MUST | {"tools": [tool(strict=True)]}), "vllm")
