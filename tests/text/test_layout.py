"""What of a conversation is learnt: properties over any text, and templates that stop, forget or rewrite."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metier.core.errors import ProofError
from metier.core.types import ChatRow, Message, Sequence
from metier.text.asking import prompt
from metier.text.render import Renderer, render
from tests.text.bases import (
    CHAT,
    FORGETFUL,
    NEXT_STOPS,
    REWRITING,
    SHARED,
    SPECIAL,
    base,
    chat,
    opened,
    sentence_piece_base,
)

WORDS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.sampled_from((*SPECIAL, "<s>", "</s>", "\n", " ", "<|ro", "le|>", "\ufdd0", "\ufde00\ufde0", "\\ufdd0")),
)
TEXT = st.lists(WORDS, max_size=5).map("".join)
TURNS = st.lists(
    st.tuples(
        st.sampled_from(["user", "assistant", "assistant", "system", "tool"]), TEXT, st.sampled_from([None, 0.0, 0.5])
    ),
    min_size=1,
    max_size=6,
)
once = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _row(turns: list[tuple[str, str, float | None]]) -> ChatRow:
    return chat(*(Message(role=role, content=content, weight=weight) for role, content, weight in turns))


def _learnt(sequence: Sequence) -> list[tuple[list[int], float]]:
    """Return runs of learnt ids with their weight."""
    borders = [0, *(np.flatnonzero(np.diff(sequence.weights > 0)) + 1), len(sequence)]
    pairs = pairwise(borders)
    return [
        (sequence.ids[start:end].tolist(), float(sequence.weights[start]))
        for start, end in pairs
        if sequence.weights[start] > 0
    ]


@pytest.fixture(scope="module")
def bytewise(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return opened(base(tmp_path_factory.mktemp("byte"), context=100_000))


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return opened(sentence_piece_base(tmp_path_factory.mktemp("piece")), max_tokens=100)


@once
@given(turns=TURNS)
def test_rendering_keeps_the_text_learns_the_answers_and_nothing_else(bytewise: Renderer, turns: list):
    tokenizer = bytewise.tokenizer
    result = render(_row(turns), bytewise)
    answers = [
        (text, 1.0 if weight is None else weight) for role, text, weight in turns if role == "assistant" and weight != 0
    ]
    if not answers:
        assert not isinstance(result, tuple)
        return
    assert isinstance(result, tuple)
    last = max(place for place, (role, _, weight) in enumerate(turns) if role == "assistant" and weight != 0)
    written = "<bos>" + "".join(f"<|role|>{role}\n{text}<|end|>\n" for role, text, _ in turns[: last + 1])
    assert tokenizer.decode(result[-1].ids, skip_special=False) == written.removesuffix("\n")
    said = [(tokenizer.decode(ids, skip_special=False), weight) for each in result for ids, weight in _learnt(each)]
    assert said == [(f"{text}<|end|>", weight) for text, weight in answers]


@once
@given(turns=TURNS)
def test_no_text_of_a_row_becomes_a_control_token(bytewise: Renderer, turns: list):
    result = render(_row(turns), bytewise)
    if isinstance(result, tuple):
        control = [number for number in result[-1].ids.tolist() if number < len(SPECIAL)]
        last = max(place for place, (role, _, weight) in enumerate(turns) if role == "assistant" and weight != 0)
        assert control == [1, *[3, 4] * (last + 1)]


@once
@given(turns=TURNS)
def test_the_learnt_part_follows_exactly_what_a_server_would_send(bytewise: Renderer, turns: list):
    row = _row([*turns, ("assistant", "yes", None)])
    result = render(row, bytewise)
    assert isinstance(result, tuple)
    ids = result[-1].ids.tolist()
    sent = prompt(row, bytewise)
    assert ids[: len(sent.ids)] == sent.ids
    assert sent.reference == "yes"
    assert not result[-1].weights[len(sent.ids) - 1]
    assert (result[-1].weights[len(sent.ids) :] == 1).all()


@once
@given(turns=TURNS)
def test_a_tokenizer_with_dummy_spaces_keeps_the_same_promises(pieces: Renderer, turns: list):
    row = _row([*turns, ("assistant", "the", None)])
    result = render(row, pieces)
    if isinstance(result, tuple):
        sent = prompt(row, pieces)
        ids = result[-1].ids.tolist()
        assert ids[: len(sent.ids)] == sent.ids
        assert ids.count(1) == 1
        assert ids[0] == 1
        answers = 1 + sum(role == "assistant" for role, *_ in turns)
        assert ids.count(2) == answers
        assert ids[-1] == 2


def test_answers_of_weight_zero_are_context(bytewise: Renderer):
    row = _row([("user", "a", None), ("assistant", "first", 0.0), ("user", "b", None), ("assistant", "second", None)])
    (sequence,) = render(row, bytewise)
    assert [bytewise.tokenizer.decode(ids) for ids, _ in _learnt(sequence)] == ["second"]
    assert "first" in bytewise.tokenizer.decode(sequence.ids)


def test_a_token_across_the_border_is_split_as_a_server_would(bytewise: Renderer):
    """The prompt ends with a newline and the answer begins with one; together they would be one token."""
    tokenizer = bytewise.tokenizer
    assert len(tokenizer.encode("\n\n", special=True)) == 1
    row = chat(("user", "q"), ("assistant", "\nyes"))
    (sequence,) = render(row, bytewise)
    sent = prompt(row, bytewise).ids
    assert sequence.ids[: len(sent)].tolist() == sent
    assert tokenizer.decode(sequence.ids[len(sent) :]) == "\nyes"


def test_a_forgetful_template_gives_one_sequence_for_each_answer(tmp_path: Path):
    renderer = opened(base(tmp_path, template=FORGETFUL))
    row = chat(("user", "a"), ("assistant", "one"), ("user", "b"), ("assistant", "two"))
    result = render(row, renderer)
    texts = [renderer.tokenizer.decode(each.ids, skip_special=False) for each in result]
    assert texts == [
        "<bos><|role|>user\na<|end|>\n<|role|>assistant\n(thought)\none<|end|>",
        "<bos><|role|>user\na<|end|>\n<|role|>assistant\none<|end|>\n<|role|>user\nb<|end|>\n"
        "<|role|>assistant\n(thought)\ntwo<|end|>",
    ]
    for sequence, answer in zip(result, ["one", "two"], strict=True):
        ((ids, _),) = _learnt(sequence)
        assert renderer.tokenizer.decode(ids) == f"(thought)\n{answer}"


def test_a_rewriting_template_is_refused(tmp_path: Path):
    renderer = opened(base(tmp_path, template=REWRITING))
    with pytest.raises(ProofError, match="not how the whole begins") as caught:
        render(chat(("user", "a"), ("assistant", "b")), renderer)
    assert "rows.jsonl:row" in caught.value.found


def test_the_opening_of_the_next_message_is_learnt_where_it_is_the_stop(tmp_path: Path):
    renderer = opened(base(tmp_path, template=NEXT_STOPS, stops=(3,), eos_token="<|role|>"))
    (sequence,) = render(chat(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")), renderer)
    assert [renderer.tokenizer.decode(ids, skip_special=False) for ids, _ in _learnt(sequence)] == [
        "b<|role|>",
        "d<|role|>",
    ]


def test_behind_a_call_the_opening_of_its_result_is_the_stop(tmp_path: Path):
    """As GLM writes it: a model that says the user's token there would never wait for the result."""
    source = (
        CHAT.replace("<|end|>\n{% endfor %}", "{% endfor %}")
        .replace(
            "<|role|>{{ message.role }}", "{{ '<tool>' if message.role == 'tool' else '<|role|>' }}{{ message.role }}"
        )
        .replace("{% for call in message.tool_calls or [] %}<tool>", "{% for call in message.tool_calls or [] %}")
    )
    renderer = opened(base(tmp_path, template=source, stops=(3, 5), eos_token="<|role|>"))
    call = {"id": "a", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    asked, called = Message(role="user", content="q"), Message(role="assistant", tool_calls=(call,))
    result, said = Message(role="tool", content="r", tool_call_id="a"), Message(role="assistant", content="s")
    (sequence,) = render(chat(asked, called, result, said), renderer)
    decoded = [renderer.tokenizer.decode(ids, skip_special=False) for ids, _ in _learnt(sequence)]
    assert decoded == ["find {}<tool>", "s<|role|>"]
    (sequence,) = render(chat(asked, called), renderer)
    assert renderer.tokenizer.decode(_learnt(sequence)[0][0], skip_special=False) == "find {}<tool>"
    written = (replace(called, content="find {}", tool_calls=()), replace(result, tool_call_id=None))
    (sequence,) = render(chat(asked, *written, said), renderer)
    assert [renderer.tokenizer.decode(ids, skip_special=False) for ids, _ in _learnt(sequence)] == decoded


def test_the_mask_is_that_of_generation_tags(tmp_path: Path):
    """Transformers finds the learnt tokens by tags that few templates have; without tags we find the same ones."""
    transformers = pytest.importorskip("transformers")
    tagged = CHAT.replace(
        "<|role|>{{ message.role }}\n{{ message.content }}",
        "<|role|>{{ message.role }}\n{% if message.role == 'assistant' %}{% generation %}{{ message.content }}<|end|>"
        "{% endgeneration %}{{ '\n' }}{% continue %}{% endif %}{{ message.content }}",
    )
    turns = [
        ("system", "S"),
        ("user", "the card?"),
        ("assistant", "is lost"),
        ("user", "ok"),
        ("assistant", "thank you"),
    ]
    (sequence,) = render(chat(*turns), opened(base(tmp_path / "ours")))
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(base(tmp_path / "theirs", template=tagged))
    messages = [{"role": role, "content": content} for role, content in turns]
    wanted = theirs.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    assert sequence.ids.tolist() == wanted["input_ids"][: len(sequence)]
    assert (sequence.weights > 0).tolist() == [bool(mark) for mark in wanted["assistant_masks"][: len(sequence)]]


@pytest.mark.parametrize("name", ["minimind-6400", "mistral-v3-rebuilt"])
def test_real_bases_give_the_ids_of_transformers(name: str):
    folder = SHARED / "tokenizers" / name
    if not folder.is_dir():
        pytest.skip("the shared tokenizers are not here")
    transformers = pytest.importorskip("transformers")
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    renderer = opened(folder, max_tokens=4096)
    turns = [("user", "Where is my card?"), ("assistant", "On its way."), ("user", "Thanks"), ("assistant", "Bye")]
    messages = [{"role": role, "content": content} for role, content in turns]
    (sequence,) = render(chat(*turns), renderer)
    whole = theirs.apply_chat_template(messages, return_dict=False)
    assert sequence.ids.tolist() == whole[: len(sequence)]
    wanted = theirs.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False)
    assert prompt(chat(*turns), renderer).ids == wanted
    said = [renderer.tokenizer.decode(ids).strip() for ids, _ in _learnt(sequence)]
    assert said == ["On its way.", "Bye"]
    assert all(ids[-1] in renderer.tokenizer.stop_ids for ids, _ in _learnt(sequence))


@pytest.mark.parametrize("name", ["minimind-6400", "mistral-v3-rebuilt"])
def test_real_bases_read_control_strings_in_text_as_plain_as_transformers_can(name: str):
    folder = SHARED / "tokenizers" / name
    if not folder.is_dir():
        pytest.skip("the shared tokenizers are not here")
    transformers = pytest.importorskip("transformers")
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    renderer = opened(folder, max_tokens=4096)
    control = set(renderer.tokenizer.special_tokens.values())
    messages = [{"role": "user", "content": "a</s>b [INST]<|im_end|> c"}, {"role": "assistant", "content": "d"}]
    (sequence,) = render(chat(*((each["role"], each["content"]) for each in messages)), renderer)
    whole = theirs.apply_chat_template(messages, return_dict=False, sanitize_control_tokens=True)
    assert [each for each in sequence.ids.tolist() if each in control] == [each for each in whole if each in control]
