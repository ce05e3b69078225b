"""The official client against a real server process, and a plain one beside it."""

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
import sqlalchemy as sql
import torch

from metier.core.progress import Silent
from metier.engine.sample import complete
from metier.model.find import find
from metier.model.load import load_base, load_tuned
from metier.serve.database import connect
from metier.serve.prompts import chat_ids
from metier.serve.tables import TRACES
from metier.serve.wire.inference import ChatMessage
from metier.text.render import open_renderer
from metier.text.settings import TextSettings
from tests.serve import workshop
from tests.serve.workshop import LABELS, MODEL, Process, Shop

ASKED: list[Any] = [{"role": "user", "content": "my card number 7"}]


def expected(shop: Shop, name: str, tokens: int = 10) -> str:
    """Return what a model says greedily, loaded as evaluation loads it."""
    base = find(MODEL, shop.folder)
    run = shop.store / "runs" / name / "model"
    model = load_base(base) if name == MODEL else load_tuned(base, run)
    renderer = open_renderer(base.folder if name == MODEL else run, TextSettings())
    ids = chat_ids([ChatMessage.model_validate(each) for each in ASKED], (), renderer)
    stops = renderer.tokenizer.stop_ids
    (said,) = complete(model, [ids], stop_ids=stops, max_new_tokens=tokens, pad_id=0, progress=Silent())
    return renderer.tokenizer.decode(said.ids)


def greedy(client: openai.OpenAI, name: str, tokens: int = 10) -> str:
    answer = client.chat.completions.create(model=name, messages=ASKED, temperature=0, max_tokens=tokens)
    return answer.choices[0].message.content or ""


def test_what_is_served_is_what_was_trained_for_every_kind_of_run_at_once(server: Process, shop: Shop) -> None:
    client = server.client()
    names = [MODEL, shop.runs["first"], shop.runs["second"], shop.runs["whole"]]
    assert {model.id for model in client.models.list()} == {*names, shop.runs["head"]}
    wanted = [expected(shop, name) for name in names]
    assert len(set(wanted)) >= 3
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda name: greedy(client, name), names * 3))
    assert found == wanted * 3
    assert client.models.retrieve(names[1]).id == names[1]


def test_a_stream_says_what_the_whole_says(server: Process, shop: Shop) -> None:
    client = server.client()
    options: dict[str, Any] = {"model": shop.runs["first"], "messages": ASKED, "seed": 5, "max_tokens": 12, "n": 2}
    whole = client.chat.completions.create(**options)
    texts, finishes, usage = ["", ""], ["", ""], None
    for chunk in client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            finishes[choice.index] = choice.finish_reason or finishes[choice.index]
    assert texts == [choice.message.content for choice in whole.choices]
    assert finishes == [choice.finish_reason for choice in whole.choices]
    assert usage is not None
    assert whole.usage is not None
    assert usage.completion_tokens == whole.usage.completion_tokens > 0
    assert texts[0] != texts[1]


def test_a_plain_client_reads_the_events(server: Process) -> None:
    body = {"model": MODEL, "messages": ASKED, "stream": True, "max_tokens": 3, "temperature": 0}
    request = urllib.request.Request(
        f"{server.url}/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.read().decode().split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    assert all(json.loads(line.removeprefix("data: "))["object"] == "chat.completion.chunk" for line in lines[:-1])


def test_every_parameter_is_obeyed(server: Process) -> None:
    client = server.client()
    free = greedy(client, MODEL, 12)
    stop = free[3:5]
    cut = client.chat.completions.create(model=MODEL, messages=ASKED, temperature=0, max_tokens=12, stop=[stop])
    assert cut.choices[0].message.content == free[: free.index(stop)]
    assert cut.choices[0].finish_reason == "stop"
    biased = client.chat.completions.create(
        model=MODEL, messages=ASKED, temperature=0, max_completion_tokens=4, logit_bias={"80": 100}, logprobs=True,
        top_logprobs=2,
    ).choices[0]  # fmt: skip
    assert biased.logprobs is not None
    told = biased.logprobs.content or []
    assert len({token.token for token in told}) == 1
    assert [len(token.top_logprobs) for token in told] == [2] * 4
    assert all(token.logprob <= token.top_logprobs[0].logprob for token in told)
    varied = client.chat.completions.create(
        model=MODEL, messages=ASKED, temperature=0, max_tokens=10, presence_penalty=2, frequency_penalty=2,
        logit_bias={"80": 8},
    )  # fmt: skip
    assert varied.choices[0].message.content != free


def test_json_and_tools_are_followed_by_a_model_that_has_learnt_neither(server: Process) -> None:
    client = server.client()
    schema = {"type": "object", "properties": {"kind": {"enum": list(LABELS)}}, "required": ["kind"]}
    schema["additionalProperties"] = False
    answer = client.chat.completions.create(
        model=MODEL, messages=ASKED, max_tokens=60, seed=2, logit_bias={"13": -100, "44": -100},
        response_format={"type": "json_schema", "json_schema": {"name": "kind", "schema": schema, "strict": True}},
    )  # fmt: skip
    if answer.choices[0].finish_reason == "stop":
        assert json.loads(answer.choices[0].message.content or "")["kind"] in LABELS
    tool: Any = {"type": "function", "function": {"name": "pay", "parameters": schema}}
    with pytest.raises(openai.BadRequestError, match="writes no tool calls"):
        client.chat.completions.create(model=MODEL, messages=ASKED, tools=[tool])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"extra_body": {"min_p": 0.1}}, "'min_p' is not a parameter"),
        ({"service_tier": "flex"}, "service_tier: Input should be 'auto' or 'default'"),
        ({"store": True}, "store: Input should be False"),
        ({"temperature": 3}, "temperature"),
        ({"top_logprobs": 2}, "set logprobs too"),
        ({"logit_bias": {"x": 1}}, "no token"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "z"}}}}, "schema"),
        ({"tool_choice": "required"}, "there are no tools"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "says the same"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "content"),
        ({"messages": [{"role": "user", "content": "long " * 200}]}, "context"),
    ],
)
def test_what_is_not_obeyed_is_refused_by_name(options: dict[str, Any], words: str, server: Process) -> None:
    with pytest.raises(openai.BadRequestError, match=words) as error:
        server.client().chat.completions.create(**({"model": MODEL, "messages": ASKED} | options))
    assert error.value.body is not None


def test_an_unknown_model_is_not_found(server: Process, shop: Shop) -> None:
    for name in ("nobody", "../../etc/passwd", "org/name"):
        with pytest.raises(openai.NotFoundError, match="not served here"):
            server.client().chat.completions.create(model=name, messages=ASKED)
    with pytest.raises(openai.BadRequestError, match="ask it at /v1/decisions"):
        server.client().chat.completions.create(model=shop.runs["head"], messages=ASKED)


def test_plain_completions_and_the_chances_of_a_prompt(server: Process, shop: Shop) -> None:
    client = server.client()
    answer = client.completions.create(model=MODEL, prompt=["ab", "cd"], n=2, max_tokens=3, seed=1)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    scored = client.completions.create(model=MODEL, prompt="abcd", max_tokens=0, echo=True, logprobs=1).choices[0]
    assert scored.text == "abcd"
    assert scored.logprobs is not None
    base = find(MODEL, shop.folder)
    tokenizer = open_renderer(base.folder, TextSettings()).tokenizer
    ids = torch.tensor([[1, *tokenizer.encode("abcd", special=False)]])
    with torch.no_grad():
        logp = torch.log_softmax(load_base(base)(ids).logits[0], -1)
    wanted = [float(logp[place - 1, ids[0, place]]) for place in range(1, 5)]
    assert (scored.logprobs.token_logprobs or [])[1:] == pytest.approx(wanted, abs=1e-3)
    streamed = client.completions.create(model=MODEL, prompt="ab", max_tokens=3, seed=1, stream=True)
    assert "".join(part.choices[0].text for part in streamed) == answer.choices[0].text


def test_embeddings_have_length_one_and_differ(server: Process, shop: Shop) -> None:
    client = server.client()
    first, second = (entry.embedding for entry in client.embeddings.create(model=MODEL, input=["card", "loan"]).data)
    assert sum(number * number for number in first) == pytest.approx(1, abs=1e-4)
    assert first != second
    tuned = client.embeddings.create(model=shop.runs["first"], input="card").data[0].embedding
    assert tuned != first


def test_decisions_of_a_writer_and_of_a_head(server: Process, shop: Shop) -> None:
    client = server.client()
    questions: list[Any] = [
        {"type": "choice", "instructions": "", "choices": [{"value": label} for label in LABELS]},
        {"type": "predicate", "instructions": "is it about a card?", "name": "card"},
    ]
    level: Any = {"type": "score", "instructions": "how angry?", "levels": [{"label": "low"}, {"label": "high"}]}
    told = client.decisions.create(model=shop.runs["first"], input="my card number 3", questions=[*questions, level])
    choice, predicate, score = (answer.model_dump() for answer in told.answers)
    assert sum(each["probability"] for each in choice["probabilities"]) == pytest.approx(1)
    assert 0 < predicate["probability"] < 1
    assert 0 <= score["score"] <= 1
    with pytest.raises(openai.BadRequestError, match="reads no instructions"):
        client.decisions.create(model=shop.runs["head"], input="my card", questions=questions)
    questions[1]["instructions"] = ""
    for number, label in enumerate(LABELS):
        headed = client.decisions.create(model=shop.runs["head"], input=f"my {label} number 8", questions=questions)
        assert headed.answers[0].model_dump()["choice"] == label
        assert (headed.answers[1].model_dump()["probability"] > 0.5) is (number == 0)
    wrong: Any = {"type": "choice", "instructions": "", "choices": [{"value": "x"}, {"value": "card"}]}
    with pytest.raises(openai.BadRequestError, match="no label of this model"):
        client.decisions.create(model=shop.runs["head"], input="my card", questions=[wrong])


def test_every_request_leaves_a_trace_and_may_be_judged(server: Process, shop: Shop) -> None:
    client = server.client()
    answer = client.chat.completions.create(
        model=shop.runs["first"], messages=ASKED, temperature=0, max_tokens=4, user="ann"
    )
    body = json.dumps({"id": answer.id, "thumbs": "down", "correction": "card"}).encode()
    request = urllib.request.Request(f"{server.url}/feedback", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 201
    database, row, deadline = connect(shop.store), None, time.monotonic() + 20
    while row is None and time.monotonic() < deadline:
        time.sleep(0.05)
        with database.connect() as connection:
            row = connection.execute(sql.select(TRACES).where(TRACES.c.id == answer.id)).first()
    assert row is not None
    assert (row.model, row.base, row.user, row.completion_tokens) == (shop.runs["first"], MODEL, "ann", 4)
    assert "my card number 7" in row.prompt
    assert row.answer == answer.choices[0].message.content
    assert 0 < row.first_token_ms <= row.total_ms
    with urllib.request.urlopen(server.url.removesuffix("/v1") + "/metrics", timeout=30) as response:
        assert "metier_completion_tokens_total" in response.read().decode()


def test_an_answer_that_nobody_hears_is_cancelled(server: Process) -> None:
    client = server.client()
    stream = client.chat.completions.create(
        model=MODEL, messages=ASKED, max_tokens=200, stream=True, logit_bias={"2": -100}
    )
    next(iter(stream))
    stream.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with urllib.request.urlopen(server.url.removesuffix("/v1") + "/metrics", timeout=30) as response:
            if f'metier_answers_active{{engine="engine {MODEL}"}} 0' in response.read().decode():
                return
        time.sleep(0.1)
    raise AssertionError("it is still being written")


def test_a_server_that_is_told_to_stop_lets_answers_end(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / MODEL).symlink_to((shop.folder / MODEL).resolve())
    (tmp_path / "metier.yaml").write_text(
        f"base: {MODEL}\ndata: none.jsonl\nserve: {{limits: {{drain_seconds: 60}}, jobs: false}}\n"
    )
    own = workshop.start(tmp_path)
    stream = own.client().chat.completions.create(
        model=MODEL, messages=ASKED, max_tokens=150, stream=True, logit_bias={"2": -100}
    )
    parts = [next(iter(stream))]
    own.process.terminate()
    parts += list(stream)
    assert parts[-1].choices[0].finish_reason == "length"
    own.process.wait(timeout=60)
    with pytest.raises(openai.APIConnectionError):
        own.client().models.list()
