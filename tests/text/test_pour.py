"""Rows that are poured get the tokens and weights that they would get one by one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from tokenizers import AddedToken

from metier.core.progress import Silent
from metier.core.types import Dropped, Message, Row
from metier.text import mould, pour, rendered
from metier.text.pieces import Encoded, Encoder, Fast, Slow, Table, Unequal
from metier.text.pour import Foundry
from metier.text.render import Renderer, render_many
from metier.text.rendered import render_rows
from metier.text.template import plain_source
from tests.text import bases
from tests.text.bases import chat, labelled, opened, plain

LOOKING = (
    "{{ bos_token }}{% for m in messages %}<|role|>{{ m.role }}\n{% if 'card' in m.content %}(card) {% endif %}"
    "{{ m.content.lstrip() }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|role|>assistant\n{% endif %}"
)
"""Writes texts of one kind otherwise than those of another."""

COUNTING = (
    "{% for m in messages %}<|role|>{{ m.content | length }}{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|role|>{% endif %}"
)

TEMPLATES = {
    "chat": bases.CHAT,
    "forgetful": bases.FORGETFUL,
    "rewriting": bases.REWRITING,
    "next stops": bases.NEXT_STOPS,
    "plain": plain_source(),
    "looking": LOOKING,
    "counting": COUNTING,
}
TOKENIZERS = {"bytes": bases.byte_level, "words": bases.whole_word}

TEXTS = some.one_of(
    some.sampled_from(
        ["", " ", "the card ", " is lost", "<|end|>", "a<|role|>b", "<eos>", "<|en", "d|>", "\n\n", "\ud800"]
    ),
    some.text(max_size=12),
)
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
ROLES = some.sampled_from(["system", "user", "assistant", "assistant"])
MESSAGES = some.builds(
    Message,
    role=ROLES,
    content=TEXTS,
    weight=some.sampled_from([None, None, 0.0, 0.5]),
    tool_calls=some.sampled_from([(), (), (), (CALL,)]),
)
ROWS = some.one_of(
    some.lists(MESSAGES, min_size=1, max_size=5).map(lambda turns: chat(*turns)),
    some.builds(
        lambda a, b, w: chat(("user", a), ("assistant", b), weight=w), TEXTS, TEXTS, some.sampled_from([1.0, 0.3])
    ),
    some.builds(labelled, TEXTS, TEXTS),
    some.builds(plain, TEXTS),
)


@pytest.fixture(scope="module", params=[(t, k) for t in TEMPLATES for k in TOKENIZERS], ids="-".join)
def renderer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    template, tokenizer = request.param
    folder = bases.base(
        tmp_path_factory.mktemp("base"), TOKENIZERS[tokenizer](), template=TEMPLATES[template], context=64
    )
    return opened(folder)


def _same(rows: Sequence[Row], renderer: Renderer) -> None:
    try:
        alone = render_many(rows, renderer)
    except Exception as error:
        with pytest.raises(type(error)):
            render_rows(rows, renderer, Silent())
        return
    together = render_rows(rows, renderer, Silent())
    wanted = [sequence for result in alone if not isinstance(result, Dropped) for sequence in result]
    assert together.row_ids == tuple(sequence.row_id for sequence in wanted)
    for number, sequence in enumerate(wanted):
        assert together.sequence(number).ids.tolist() == sequence.ids.tolist()
        assert together.sequence(number).weights.tolist() == sequence.weights.tolist()
    assert together.ids.dtype == np.int32
    assert together.weights.dtype == np.float32
    assert together.dropped == tuple(result for result in alone if isinstance(result, Dropped))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=some.lists(ROWS, max_size=8))
def test_poured_is_what_is_rendered(renderer: Renderer, rows: list[Row]):
    _same(rows, renderer)


def _base(folder: Path, template: str = bases.CHAT) -> Renderer:
    return opened(bases.base(folder, template=template))


def _foundry(renderer: Renderer) -> Foundry:
    return Foundry(renderer, renderer.tokenizer.encoder(fast=False, parallel=False))


TALK = [chat(("user", f"hello {number}"), ("assistant", "you" * (number % 3))) for number in range(9)]


def test_ordinary_rows_are_poured(tmp_path: Path):
    """Else the test above would hold because everything takes the slow way."""
    for name in ("chat", "looking"):
        poured, left = _foundry(_base(tmp_path / name, TEMPLATES[name])).pour(TALK)
        assert not left
        assert sum(len(part.places) for part in poured) == len(TALK)
    joined = (bases.CHAT + "{% if not add_generation_prompt %}").replace(
        "{{ message.content }}", "{{ message.content | trim }}"
    )
    assert _foundry(_base(tmp_path / "trim", joined + "{% endif %}")).pour(TALK)[1] == []
    several = [chat(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"))]
    assert _foundry(_base(tmp_path / "chat")).pour(several)[1] == []


def test_what_cannot_be_proven_is_left(tmp_path: Path):
    renderer = _base(tmp_path)
    odd = [
        chat(("user", "<|end|>"), ("assistant", "b")),
        chat(("user", "\ud800"), ("assistant", "b")),
        chat(("user", "a"), Message(role="assistant", tool_calls=(CALL,))),
        chat(("user", "a"), ("assistant", "b"), tools=({"name": "f"},)),
        chat(("user", "a" * 300_000), ("assistant", "b")),
        plain("text"),
    ]
    poured, left = _foundry(renderer).pour([*odd, TALK[0]])
    assert left == list(range(len(odd)))
    assert [part.places.tolist() for part in poured] == [[], [6]] or poured[-1].places.tolist() == [6]
    assert _foundry(_base(tmp_path / "counting", COUNTING)).pour(TALK) == ([], list(range(len(TALK))))


def test_a_row_that_is_too_long_is_told_as_when_it_is_rendered_alone(tmp_path: Path):
    renderer = _base(tmp_path)
    rows = [TALK[0], chat(("user", "word " * 99), ("assistant", "b")), TALK[1]]
    poured, left = _foundry(renderer).pour(rows)
    assert not left
    assert [item for part in poured for item in part.dropped.values()] == render_many(rows[1:2], renderer)
    assert render_rows(rows, renderer, Silent()).dropped == tuple(render_many(rows[1:2], renderer))


def test_a_row_that_is_told_to_be_longer_than_it_is_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    honest = pour.too_long
    monkeypatch.setattr(pour, "too_long", lambda row, tokens, renderer: honest(row, tokens + 1, renderer))
    with pytest.raises(Unequal, match="is not too long"):
        _foundry(_base(tmp_path)).pour([chat(("user", "word " * 99), ("assistant", "b"))])


class Lying:
    """An encoder that is wrong about one text."""

    def __init__(self, honest: Encoder) -> None:
        self.honest = honest

    def encode(self, texts: Sequence[str]) -> Encoded:
        found = self.honest.encode(texts)
        found.ids[found.offsets[1] - 1] += 1
        return found


def test_a_wrong_token_is_found(tmp_path: Path):
    renderer = _base(tmp_path)
    with pytest.raises(Unequal, match="rendered alone"):
        Foundry(renderer, Lying(renderer.tokenizer.encoder(fast=False, parallel=False))).pour(TALK)


def test_a_wrong_token_is_told_and_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    renderer = _base(tmp_path)
    wanted = render_rows(TALK, renderer, Silent())
    said: list[str] = []

    class Listening(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    honest = rendered.Rendering._encoder
    monkeypatch.setattr(rendered, "FEWEST_ROWS", 1)
    monkeypatch.setattr(rendered.Rendering, "_encoder", lambda self, *, fast: Lying(honest(self, fast=False)))
    found = render_rows(TALK, renderer, Listening())
    assert found.ids.tolist() == wanted.ids.tolist()
    assert [line.split(":")[0] for line in said] == ["rendering with the slower tokenizer", "rendering row by row"]


@pytest.mark.parametrize(
    ("token", "other", "hard"),
    [
        (AddedToken("<a>", normalized=False), "<b>", True),
        (AddedToken("<a>", normalized=False), "x<a>", False),
        (AddedToken("<a>", normalized=False), "x<", False),
        (AddedToken("<a>", normalized=False), ">x", False),
        (AddedToken("<<", normalized=False), "zz", False),
        (AddedToken("<a>", normalized=True), "<b>", False),
        (AddedToken("<a>", normalized=False, rstrip=True), "<b>", False),
        (AddedToken("<a>", normalized=False, lstrip=True), "<b>", False),
        (AddedToken("<a>", normalized=False, single_word=True), "<b>", False),
    ],
)
def test_a_border_is_hard_only_where_nothing_reaches_across_it(token: AddedToken, other: str, hard: bool):
    found = mould.hard_borders([token, AddedToken(other, normalized=False)], f"-{token.content}-", normalised=True)
    assert (found == (token.content,)) is hard


def test_a_text_is_encoded_once():
    table = Table()
    assert table.places(["a", "b", "a"]) == [0, 1, 0]
    assert table.place("b") == 1


def test_both_libraries_agree_or_it_is_said(tmp_path: Path):
    pytest.importorskip("gigatoken")
    renderer = _base(tmp_path)
    engine = renderer.tokenizer._engine
    texts = [f"<|role|>user\nthe card {number} – 日本 é" for number in range(700)]
    fast = Fast(engine, parallel=False)
    wanted = Slow(engine).encode(texts)
    for _ in range(2):
        found = fast.encode(texts)
        assert found.ids.tolist() == wanted.ids.tolist()
        assert found.offsets.tolist() == wanted.offsets.tolist()
    fast._slow = Lying(fast._slow)  # type: ignore[assignment]
    with pytest.raises(Unequal, match="otherwise than the base's tokenizer"):
        fast.encode(texts)


def test_a_tokenizer_that_the_second_library_cannot_read_is_said(tmp_path: Path):
    pytest.importorskip("gigatoken")
    words = opened(bases.base(tmp_path, bases.whole_word()))
    with pytest.raises(Unequal, match="cannot read this tokenizer"):
        words.tokenizer.encoder(fast=True, parallel=False)
