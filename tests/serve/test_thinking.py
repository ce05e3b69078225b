"""A model that thinks before it answers: client programs get the answer as content, the thought beside it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.serve.thinking import Thinking, divided
from metier.text.render import Renderer
from tests.conftest import TEMPLATE
from tests.serve import workshop
from tests.serve.workshop import MODEL, Shop, application, templated
from tests.text.bases import THINKING, base, opened

THOUGHT, ANSWER = "so?", "card"
THOUGHTFUL = TEMPLATE.replace(
    "{{ m['content'] }}",
    "{% set p = m['content'].split('</think>') %}{% if m['role'] == 'assistant' and loop.last %}<think>\n"
    "{{ p[0].split('<think>')[-1].strip() if p | length > 1 else '' }}\n</think>\n\n{% endif %}{{ p[-1].lstrip() }}",
)
ASKED: list[Any] = [{"role": "user", "content": "my 3 card"}]
PIECES = st.lists(st.sampled_from(["<", "think", ">", "</think>", "<think>", "\n", " ", "a", "</", "yes"]), max_size=12)


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return opened(base(tmp_path_factory.mktemp("base"), template=THINKING))


@given(PIECES)
def test_however_it_comes_it_is_divided_alike(renderer: Renderer, pieces: list[str]) -> None:
    text, thinking = "".join(pieces), Thinking(renderer, "")
    parts = [part for piece in pieces for part in thinking.feed(piece)] + thinking.end()
    told = {kind: "".join(text for each, text in parts if each == kind) for kind in ("reasoning_content", "content")}
    assert (told["reasoning_content"], told["content"]) == divided(text, Thinking(renderer, ""))
    if "</think>" in text and text.lstrip().startswith("<think>") and "<think>" not in text.lstrip()[1:]:
        first = text.partition("</think>")[2]
        assert told["content"] == first.lstrip()


@pytest.mark.parametrize(
    ("text", "prompt", "thought", "answer"),
    [
        ("<think>\n\n</think>\n\nyes", "", "", "yes"),
        ("<think>\nhm\n</think>\n\nyes\n", "", "hm", "yes\n"),
        ("hm\n</think>\nyes", "<|assistant|>\n<think>\n", "hm", "yes"),
        ("<think>\nnever ends\n", "", "never ends", ""),
        ("x < 3", "", "", "x < 3"),
        ("<thin", "", "", "<thin"),
    ],
)
def test_thought_and_answer(renderer: Renderer, text: str, prompt: str, thought: str, answer: str) -> None:
    assert divided(text, Thinking(renderer, prompt)) == (thought, answer)


def test_a_template_that_knows_no_thinking_changes_nothing(tmp_path: Path) -> None:
    text = "<think>x</think>y"
    assert divided(text, Thinking(opened(base(tmp_path)), "")) == ("", text)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Shop:
    """A run that learnt by heart to think of a card and to say so."""
    shop = templated(tmp_path_factory.mktemp("thinking"), tiny_base, THOUGHTFUL)
    turns = [{"role": "assistant", "content": ANSWER, "reasoning_content": THOUGHT}]
    lines = [{"messages": [{"role": "user", "content": f"my {n} card"}, *turns]} for n in range(24)]
    (shop.folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (shop.folder / "metier.yaml").write_text(f"base: {MODEL}\ndata: rows.jsonl\n")
    shop.runs["thinks"] = workshop.train(
        shop.folder, "--model.method=full", "--train.epochs=60", "--train.learning-rate=0.01"
    )
    return shop


@pytest.fixture(scope="module")
def client(shop: Shop) -> Iterator[openai.OpenAI]:
    with application(shop) as inside:
        yield openai.OpenAI(base_url="http://localhost/v1", api_key="x", http_client=inside, max_retries=0)


def test_the_thought_stands_beside_the_content(client: openai.OpenAI, shop: Shop) -> None:
    answer = client.chat.completions.create(model=shop.runs["thinks"], messages=ASKED, temperature=0, max_tokens=60)
    message = answer.choices[0].message.model_dump()
    assert answer.choices[0].finish_reason == "stop"
    assert (message["reasoning_content"], message["content"]) == (THOUGHT, ANSWER)


def test_a_stream_tells_the_same(client: openai.OpenAI, shop: Shop) -> None:
    told = {"reasoning_content": "", "content": ""}
    count = 0
    for part in client.chat.completions.create(
        model=shop.runs["thinks"], messages=ASKED, temperature=0, max_tokens=60, stream=True, logprobs=True
    ):
        delta = part.choices[0].delta.model_dump()
        count += part.choices[0].logprobs is not None
        for kind in told:
            told[kind] += delta.get(kind) or ""
    assert told == {"reasoning_content": THOUGHT, "content": ANSWER}
    assert count > len(ANSWER)  # every token has its chance, those of the thought too


def test_a_shape_is_held_behind_an_empty_thought(client: openai.OpenAI, shop: Shop) -> None:
    asked = {"model": shop.runs["thinks"], "messages": ASKED, "temperature": 0, "max_tokens": 60}
    free = client.chat.completions.create(**asked)
    shape: Any = {
        "type": "json_schema", "json_schema": {"name": "kind", "schema": {"enum": ["card", "loan"]}, "strict": True}
    }  # fmt: skip
    held = client.chat.completions.create(**asked, response_format=shape)
    assert json.loads(held.choices[0].message.content or "") in ("card", "loan")
    assert free.usage is not None
    assert held.usage is not None
    assert held.usage.prompt_tokens > free.usage.prompt_tokens


def test_decisions_are_weighed_behind_an_empty_thought(client: openai.OpenAI, shop: Shop) -> None:
    """The run learnt short answers after a thought: behind an empty one it is sure, behind none it would be lost."""
    question = {"type": "choice", "instructions": "", "choices": [{"value": "card"}, {"value": "zzzzzz"}]}
    answer = client.post(
        "/decisions", cast_to=dict[str, Any],
        body={"model": shop.runs["thinks"], "input": "my card", "questions": [question]},
    )["answers"][0]  # fmt: skip
    assert answer["choice"] == "card"
    assert answer["confidence"] > 0.99
