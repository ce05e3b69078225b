"""Rows of every kind, the limit, and that each setting changes what comes out."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from metier.core.errors import DataError, SettingsError
from metier.core.types import ChatRow, Dropped, Message, PreferenceRow
from metier.text import layout
from metier.text.asking import prompt
from metier.text.preferences import turned
from metier.text.render import NOT_UNICODE, NOTHING_LEARNT, REFUSED, TOO_LONG, Renderer, render, render_many
from tests.text.bases import base, chat, labelled, opened, plain, sentence_piece_base

CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"b":1,  "a": 2.50}'}}


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return opened(base(tmp_path_factory.mktemp("base")))


def _text(row: Any, renderer: Renderer) -> str:
    return renderer.tokenizer.decode(render(row, renderer)[-1].ids, skip_special=False)


def test_a_labelled_row_is_a_question_and_its_label(renderer: Renderer):
    assert (
        _text(labelled("the card", "lost"), renderer)
        == "<bos><|role|>user\nthe card<|end|>\n<|role|>assistant\nlost<|end|>"
    )
    sent = prompt(labelled("the card", "lost"), renderer)
    assert sent.reference == "lost"
    assert sent.text == "<bos><|role|>user\nthe card<|end|>\n<|role|>assistant\n"


def test_types_and_names(renderer: Renderer):
    (sequence,) = render(labelled("a", "b", 7), renderer)
    assert sequence.ids.dtype == np.int32
    assert sequence.weights.dtype == np.float32
    assert (sequence.row_id, sequence.source) == ("l7", "rows.jsonl:7")
    assert sequence.weights[0] == 0


def test_row_weight_multiplies_turn_weight(renderer: Renderer):
    row = chat(("user", "q"), Message(role="assistant", content="a", weight=0.5), weight=3.0)
    (sequence,) = render(row, renderer)
    assert set(sequence.weights.tolist()) == {0.0, 1.5}


def test_tool_calls_are_kept_verbatim(renderer: Renderer):
    row = chat(("user", "q"), Message(role="assistant", tool_calls=(CALL,)))
    assert _text(row, renderer).endswith('<tool>find {"b":1,  "a": 2.50}<|end|>')
    asked = prompt(row, renderer)
    assert asked.reference == '{"arguments":{"a":2.5,"b":1},"name":"find"}'
    assert asked.written == '<tool>find {"b":1,  "a": 2.50}<|end|>\n'
    assert prompt(chat(("user", "q"), ("assistant", "a")), renderer).written is None


def test_arguments_become_objects_where_the_template_wants_them(tmp_path: Path):
    source = (
        "{% for m in messages %}<|role|>{{ m.content }}{% for c in m.tool_calls or [] %}"
        "{{ c.function.arguments | tojson }}{% endfor %}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|role|>{% endif %}"
    )
    renderer = opened(base(tmp_path, template=source))
    row = chat(("user", "q"), Message(role="assistant", tool_calls=(CALL,)))
    assert _text(row, renderer).endswith('<|role|>{"b": 1, "a": 2.5}<|end|>')
    broken = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{not json"}}
    assert '"{not json"' in _text(chat(("user", "q"), Message(role="assistant", tool_calls=(broken,))), renderer)


@pytest.mark.parametrize(
    "row",
    [
        chat(("user", "only a question")),
        chat(("user", "q"), Message(role="assistant", content="a", weight=0.0)),
        chat(("user", "q"), ("assistant", "a"), weight=0.0),
        plain(""),
    ],
)
def test_rows_without_anything_to_learn_are_dropped(renderer: Renderer, row: Any):
    result = render(row, renderer)
    assert isinstance(result, Dropped)
    assert result.reason == NOTHING_LEARNT
    assert result.source == row.source


@pytest.mark.parametrize(
    "row", [plain("a\udc00"), labelled("a\udc00", "b"), chat(("user", "q"), ("assistant", "\ud800<|end|>"))]
)
def test_broken_unicode_drops_one_row_only(renderer: Renderer, row: Any):
    first, second, third = render_many([plain("fine"), row, labelled("also", "fine")], renderer)
    assert isinstance(second, Dropped)
    assert second.reason == NOT_UNICODE
    assert isinstance(first, tuple)
    assert isinstance(third, tuple)


def test_a_refused_conversation_is_dropped_with_the_template_s_words(tmp_path: Path):
    source = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn, please') }}{% endif %}<|role|><|end|>"
    )
    result = render(chat(("system", "s"), ("user", "q"), ("assistant", "a")), opened(base(tmp_path, template=source)))
    assert isinstance(result, Dropped)
    assert result.reason == REFUSED
    assert "no system turn, please" in result.detail


def test_a_preference_is_rendered_as_its_better_answer(renderer: Renderer):
    asked = (Message(role="user", content="q"), Message(role="assistant", content="x"), Message(role="user"))
    better, worse = ((Message(role="assistant", content=text),) for text in ("good", "bad"))
    row = PreferenceRow(id="p", source="rows.jsonl:1", prompt=asked, chosen=better, rejected=worse, weight=2.0)
    (sequence,) = render(row, renderer)
    learnt = renderer.tokenizer.decode(sequence.ids[sequence.weights > 0], skip_special=True)
    assert learnt.strip() == "good", "nothing of the prompt, and nothing of the worse answer"
    assert set(sequence.weights) == {0.0, 2.0}
    assert prompt(row, renderer).reference == "good"
    (other,) = render(turned(row), renderer)
    assert "bad" in renderer.tokenizer.decode(other.ids[other.weights > 0], skip_special=True)


def test_questions_need_answers(renderer: Renderer):
    with pytest.raises(DataError, match="no assistant turn"):
        prompt(chat(("user", "q")), renderer)
    with pytest.raises(DataError, match="plain text"):
        prompt(plain("text"), renderer)


def test_the_prompt_is_before_the_last_answer(renderer: Renderer):
    row = chat(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"), ("user", "e"))
    assert prompt(row, renderer).reference == "d"
    assert prompt(row, renderer).text.endswith("c<|end|>\n<|role|>assistant\n")


# plain text


@settings(deadline=None, max_examples=60)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=120), limit=st.integers(8, 40))
def test_windows_learn_every_token_of_a_text_once(renderer: Renderer, text: str, limit: int):
    sequences = render(plain(text), replace(renderer, limit=limit))
    assert isinstance(sequences, tuple)
    assert all(len(each) <= limit for each in sequences)
    assert all(each.ids[0] == 1 and each.weights[0] == 0 and (each.weights[1:] == 1).all() for each in sequences)
    learnt = [number for each in sequences for number in each.ids[1:].tolist()]
    assert learnt == [*renderer.tokenizer.encode(text, special=False), 2]
    assert max(len(each) for each in sequences) - min(len(each) for each in sequences) <= 1


def test_without_a_beginning_each_window_starts_with_the_token_before(tmp_path: Path):
    renderer = opened(base(tmp_path, bos_token=None), max_tokens=8)
    text = "the card is lost and I would like a new one please"
    sequences = render(plain(text), renderer)
    ids = [*renderer.tokenizer.encode(text, special=False), 2]
    assert len(sequences) > 1
    assert [number for each in sequences for number in each.ids[1:].tolist()] == ids[1:]
    for before, after in pairwise(sequences):
        assert after.ids[0] == before.ids[-1]


def test_control_tokens_in_a_text_are_not_doubled(tmp_path: Path):
    renderer = opened(base(tmp_path), special_tokens_in_text=True)
    (sequence,) = render(plain("<bos>the card<eos>"), renderer)
    assert sequence.ids.tolist() == renderer.tokenizer.encode("<bos>the card<eos>", special=True)


# settings: each changes what comes out


def test_system_is_added_where_there_is_none(tmp_path: Path):
    renderer = opened(base(tmp_path), system="Be brief.")
    assert "<|role|>system\nBe brief.<|end|>" in _text(labelled("q", "a"), renderer)
    assert "Be brief." not in _text(chat(("system", "mine"), ("user", "q"), ("assistant", "a")), renderer)


def test_template_changes_the_text(tmp_path: Path):
    (tmp_path / "t.jinja").write_text("{% for m in messages %}[{{ m.content }}]<|end|>{% endfor %}", encoding="utf-8")
    renderer = opened(base(tmp_path / "b"), template=str(tmp_path / "t.jinja"))
    assert prompt(labelled("q", "a"), renderer).text == "[q]<|end|>"


def test_max_tokens_and_too_long(tmp_path: Path):
    folder, long = base(tmp_path), labelled("the card " * 20, "lost")
    assert isinstance(render(long, opened(folder)), tuple)
    dropped = render(long, opened(folder, max_tokens=20))
    assert isinstance(dropped, Dropped)
    assert (dropped.reason, dropped.label) == (TOO_LONG, "lost")
    assert "limit 20" in dropped.detail
    with pytest.raises(DataError, match=r"rows.jsonl:0: \d+ tokens, limit 20"):
        render(long, opened(folder, max_tokens=20, too_long="refuse"))


def test_special_tokens_in_text(tmp_path: Path):
    folder = base(tmp_path)
    assert 3 not in render(plain("<|role|>"), opened(folder))[0].ids
    assert 3 in render(plain("<|role|>"), opened(folder, special_tokens_in_text=True))[0].ids


def test_today(tmp_path: Path):
    folder = base(
        tmp_path, template="{{ strftime_now('%Y') }}{% for m in messages %}<|role|>{{ m.content }}<|end|>{% endfor %}"
    )
    assert prompt(labelled("q", "a"), opened(folder)).text.startswith("2025")
    assert prompt(labelled("q", "a"), opened(folder, today="2031-05-06")).text.startswith("2031")


@pytest.mark.parametrize(
    "change",
    [
        {"system": "S"},
        {"max_tokens": 64},
        {"special_tokens_in_text": True},
        {"today": "2031-05-06"},
        {"too_long": "refuse"},
    ],
)
def test_whatever_changes_tokens_changes_the_digest(tmp_path: Path, change: dict[str, Any]):
    folder = base(tmp_path)
    assert opened(folder, **change).digest != opened(folder).digest
    assert opened(folder, most_lost_share=0.5).digest == opened(folder).digest


def test_the_limit_is_the_context_unless_set(tmp_path: Path):
    folder = base(tmp_path / "a")
    assert (opened(folder).limit, opened(folder).choices[-1].reason) == (128, "the base's context")
    assert opened(folder, max_tokens=50).choices[-1].reason == "as set"
    assert opened(base(tmp_path / "b", context=None)).limit == 2048
    with pytest.raises(SettingsError, match=r"text\.max_tokens: 129"):
        opened(folder, max_tokens=129)


@pytest.mark.parametrize(
    "change", [{"max_tokens": 1}, {"too_long": "cut"}, {"most_lost_share": 2}, {"today": "soon"}, {"sistem": ""}]
)
def test_settings_out_of_range(tmp_path: Path, change: dict[str, Any]):
    with pytest.raises(ValidationError):
        opened(base(tmp_path), **change)


def test_a_base_without_template_or_names_still_begins_and_stops(tmp_path: Path):
    path = sentence_piece_base(tmp_path)
    (path / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    config = json.loads((path / "config.json").read_text(encoding="utf-8")) | {"bos_token_id": 1, "eos_token_id": 2}
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (sequence,) = render(labelled("the card", "lost"), opened(path))
    assert sequence.ids[0] == 1
    assert sequence.ids[-1] == 2
    assert sequence.weights[-1] == 1


def talk(turns: int) -> ChatRow:
    return chat(*((("user", "assistant")[place % 2], f"turn {place}") for place in range(turns)))


def test_a_conversation_of_ten_thousand_turns_that_is_too_long_is_told_from_its_last_answer(tmp_path, monkeypatch):
    renderer = opened(base(tmp_path), max_tokens=100)
    asked: list[int] = []
    whole = layout.beginnings

    def beginnings(conversations, *rest):
        asked.extend(len(each.learnt) for each in conversations)
        return whole(conversations, *rest)

    monkeypatch.setattr(layout, "beginnings", beginnings)
    row = render(talk(10_000), renderer)
    assert isinstance(row, Dropped)
    assert row.reason == TOO_LONG
    assert asked == [1, 1]


@pytest.mark.parametrize("limit", [40, 128])
def test_many_turns_are_rendered_as_few_are(tmp_path, monkeypatch, limit):
    renderer = opened(base(tmp_path), max_tokens=limit)
    rows = [talk(60), talk(4), talk(6)]
    expected = [str(found) for found in render_many(rows, renderer)]
    monkeypatch.setattr("metier.text.render._MANY_TURNS", 1)
    assert [str(found) for found in render_many(rows, renderer)] == expected
