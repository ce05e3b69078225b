"""Bases that think before they answer: what is learnt, what is compared, how long an answer may be."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Engine

from metier.core.errors import SettingsError
from metier.core.progress import Silent
from metier.core.types import Message
from metier.text import messages, offered, room
from metier.text.asking import prompt
from metier.text.messages import UnusableRow
from metier.text.pour import Foundry
from metier.text.proof import check
from metier.text.render import Renderer, open_renderer, render
from metier.text.rendered import render_rows
from metier.text.settings import TextSettings
from metier.text.thought import apart, before, spoken
from tests.text.bases import CHANNELS, CHAT, THINKING, base, byte_level, chat, opened

EMPTY = "<think>\n\n</think>\n\n"


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return opened(base(tmp_path_factory.mktemp("base"), template=THINKING))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yes", "yes"),
        ("", ""),
        (f"{EMPTY}yes", "yes"),
        ("<think>\nis it\n</think>\n\nyes", "yes"),
        ("begun by the prompt\n</think>\nyes", "yes"),
        ("<think>one</think><think>two</think> yes", "yes"),
        ("<think>\nnever comes to an end", ""),
        ("[THINK]hm[/THINK]yes", "yes"),
        ("I think </thinking> is a tag", "I think </thinking> is a tag"),
    ],
)
def test_what_is_said_comes_after_the_thought(text: str, said: str):
    assert spoken(text) == said


@given(st.text(), st.text())
def test_a_thought_is_taken_off_again(thought: str, answer: str):
    if "</think>" not in answer and "[/THINK]" not in answer:
        assert spoken(before(thought, answer)) == answer.lstrip()


def test_an_empty_thought_is_learnt_as_the_template_writes_it_and_leads_every_answer_on_offer(renderer: Renderer):
    row = chat(("user", "q"), ("assistant", "lost"))
    (sequence,) = render(row, renderer)
    learnt = sequence.ids[sequence.weights > 0]
    assert renderer.tokenizer.decode(learnt, skip_special=False) == f"{EMPTY}lost<|end|>"
    assert renderer.lead == EMPTY
    (ids,) = offered.continuations(["lost"], renderer)
    assert ids == [*prompt(row, renderer).ids, *learnt.tolist()][-len(ids) :]
    assert ids == learnt.tolist()


def test_the_answer_is_compared_without_the_thought_and_has_room_for_it(renderer: Renderer):
    row = chat(("user", "q"), Message(role="assistant", content=before("the card is lost", "lost")))
    asked = prompt(row, renderer)
    assert asked.reference == "lost"
    assert asked.written == "<think>\nthe card is lost\n</think>\n\nlost<|end|>\n"
    assert room.longest([asked.written], renderer.tokenizer) > room.longest([asked.reference], renderer.tokenizer)
    (sequence,) = render(row, renderer)
    ids = sequence.ids[sequence.weights > 0]
    assert renderer.tokenizer.said(ids) == "lost"
    assert renderer.tokenizer.said(ids[:8]) == ""


def test_marks_that_are_control_tokens_are_seen_too(tmp_path: Path):
    engine = Engine.from_str(byte_level())
    engine.add_special_tokens(["[THINK]", "[/THINK]"])
    tokenizer = opened(base(tmp_path, engine.to_str())).tokenizer
    ids = [
        tokenizer.special_tokens["[THINK]"],
        *tokenizer.encode("the card", special=False),
        tokenizer.special_tokens["[/THINK]"],
    ]
    after = [*ids, *tokenizer.encode("lost", special=False)]
    assert tokenizer.said(after) == "lost"
    assert tokenizer.said(ids[:-1]) == ""
    assert tokenizer.decode(after) == "the cardlost"  # the marks are not in the text


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_a_thought_of_its_own_is_kept(name: str):
    turns = messages.chat([{"role": "assistant", "content": "lost", name: "the card is gone"}], "messages")
    assert turns[0].content == before("the card is gone", "lost")
    assert messages.chat([{"role": "assistant", "content": "lost", name: None}], "messages")[0].content == "lost"
    assert messages.chat([{"role": "user", "content": "lost", name: "hm"}], "messages")[0].content == "lost"
    with pytest.raises(UnusableRow, match=f"'{name}' of a turn is not text"):
        messages.chat([{"role": "assistant", "content": "lost", name: 3}], "messages")


def test_a_template_that_looks_for_the_thought_in_a_field_finds_it_there(tmp_path: Path):
    """Written into the text, the marks of other templates would be learnt as part of the answer."""
    for name, template in (("chat", CHAT), ("think", THINKING)):
        assert not opened(base(tmp_path / name, template=template)).template.thinks_apart
    renderer = opened(base(tmp_path / "own", template=CHANNELS))
    assert renderer.template.thinks_apart
    rows = [
        chat(("user", "q"), ("assistant", before(thought, said)), row_id=said)
        for thought, said in (("the card", "lost"), ("is it", "found"), ("where", "today"))
    ]
    for row, thought, said in zip(rows, ("the card", "is it", "where"), ("lost", "found", "today"), strict=True):
        (sequence,) = render(row, renderer)
        learnt = renderer.tokenizer.decode(sequence.ids[sequence.weights > 0], skip_special=False)
        assert learnt == f" thinks\n{thought}<|role|>assistant\n{said}<|end|>"
        asked = prompt(row, renderer)
        assert (asked.reference, asked.written) == (said, learnt + "\n")
    together = render_rows(rows, renderer, Silent())
    for number, row in enumerate(rows):
        assert together.sequence(number).ids.tolist() == render(row, renderer)[0].ids.tolist()
    assert check(rows, renderer).ok
    assert Foundry(renderer, renderer.tokenizer.encoder(fast=False, parallel=False)).pour(rows) == ([], [0, 1, 2])


@given(st.text(), st.text())
def test_a_thought_is_taken_apart_as_it_was_put_together(thought: str, answer: str):
    if "</think>" not in answer:
        assert apart(before(thought, answer)) == (thought.strip(), answer.lstrip("\n"))
    assert apart(answer) is None or answer.startswith("<think>")


def test_a_template_can_be_told_not_to_think(tmp_path: Path):
    folder = base(tmp_path, template=THINKING)
    told = open_renderer(folder, TextSettings(variables={"enable_thinking": False}))
    row = chat(("user", "q"), ("assistant", "lost"))
    (sequence,) = render(row, told)
    assert told.tokenizer.decode(sequence.ids[sequence.weights > 0], skip_special=False) == "lost<|end|>"
    assert prompt(row, told).text.endswith(EMPTY)
    assert told.lead == ""
    assert told.digest != opened(folder).digest


@pytest.mark.parametrize("name", ["enable_thoughts", "messages", "bos_token"])
def test_what_a_template_does_not_read_is_refused(name: str, tmp_path: Path):
    with pytest.raises(SettingsError, match=rf"does not read '{name}'; wanted: one of enable_thinking"):
        open_renderer(base(tmp_path, template=THINKING), TextSettings(variables={name: True}))
