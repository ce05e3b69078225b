"""Rows for a head end where it is read, and no answer is among the tokens that a model sees."""

import numpy as np
import pytest

from metier.core.errors import ModelError
from metier.core.progress import Silent
from metier.core.types import Message
from metier.text.asking import prompt
from metier.text.pooled import of_rows, pooled, pooled_row
from metier.text.rendered import render_rows
from metier.text.targets import fit
from tests.text import bases

ROWS = [bases.labelled(f"the card {n}", "lost" if n % 2 else "new", n) for n in range(5)]


@pytest.fixture(scope="module")
def renderer(tmp_path_factory):
    return bases.opened(bases.base(tmp_path_factory.mktemp("base")))


def test_the_label_stands_behind_the_prompt_and_the_answer_is_gone(renderer):
    head = fit(ROWS, "classify")
    rendered = pooled(render_rows(ROWS, renderer, Silent()), ROWS, head, renderer)
    assert rendered.targets.shape == (5, 2)
    for number, row in enumerate(ROWS):
        sequence = rendered.sequence(number)
        assert sequence.ids[:-1].tolist() == prompt(row, renderer).ids
        assert sequence.ids[-1] == renderer.tokenizer.stop_ids[0]
        assert np.flatnonzero(sequence.weights).tolist() == [len(sequence) - 1]
        assert sequence.target.tolist() == head.vector(row).tolist()


def test_weights_of_rows_stay_and_earlier_answers_are_context(renderer):
    turns = [("user", "hello"), ("assistant", "thank you"), ("user", "the card"), ("assistant", "lost")]
    row = bases.chat(*(Message(role=role, content=text) for role, text in turns), weight=2.5)
    cut = pooled_row(row, renderer)
    assert cut.weights[-1] == 2.5
    assert "thank you" in renderer.tokenizer.decode(cut.ids)
    assert "lost" not in renderer.tokenizer.decode(cut.ids)


def test_rows_that_cannot_be_rendered_are_told(tmp_path):
    short = bases.opened(bases.base(tmp_path / "base"), max_tokens=24)
    sequences, dropped = of_rows([ROWS[0], bases.labelled("the card " * 50, "lost", 9)], short, fit(ROWS, "classify"))
    assert len(sequences) == 1
    assert dropped[1].reason == "too long"


def test_a_prompt_that_ends_with_padding_would_be_read_elsewhere(tmp_path):
    """`transformers` looks for the last token that is no padding: such a template must be refused."""
    template = bases.CHAT.replace("<|role|>assistant\n{% endif %}", "<|role|>assistant<pad>{% endif %}").replace(
        "<|role|>{{ message.role }}\n{{ message.content }}",
        "<|role|>{{ message.role }}{% if message.role == 'assistant' %}<pad>{% else %}\n{% endif %}"
        "{{ message.content }}",
    )
    renderer = bases.opened(bases.base(tmp_path / "base", template=template))
    with pytest.raises(ModelError, match="the prompt ends with the padding token '<pad>'"):
        pooled_row(ROWS[0], renderer)
