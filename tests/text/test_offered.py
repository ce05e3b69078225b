"""Options are offered with the very tokens that are learnt, whatever stands between the prompt and them."""

from pathlib import Path

import pytest

from metier.text.asking import prompt
from metier.text.offered import continuations
from metier.text.render import Renderer, render
from tests.text.bases import CHAT, THINKING, base, labelled, opened, sentence_piece

LABELS = ("card", "the card", "lost", "thank you <|end|>")
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}"
)


def pieces(folder: Path) -> Renderer:
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": None}
    return opened(base(folder, sentence_piece(), template=INST, stops=(2,), **names))


@pytest.mark.parametrize(
    "made",
    [
        lambda folder: opened(base(folder)),
        lambda folder: opened(base(folder, template=THINKING)),
        lambda folder: opened(base(folder, template=CHAT.replace("<|end|>", "<eos>"), stops=(4, 2))),
        pieces,
    ],
    ids=["plain", "empty thought", "another end", "dummy spaces"],
)
def test_what_is_offered_is_what_is_learnt(tmp_path: Path, made):
    renderer = made(tmp_path)
    for label, offered in zip(LABELS, continuations(LABELS, renderer), strict=True):
        row = labelled("where is it", label)
        (sequence,) = render(row, renderer)
        assert [*prompt(row, renderer).ids, *offered] == sequence.ids.tolist()


def test_an_option_that_is_too_long_for_a_row_is_offered_all_the_same(tmp_path: Path):
    renderer = opened(base(tmp_path, context=16))
    (offered,) = continuations(["the card is lost and I would like a new one"], renderer)
    assert renderer.tokenizer.decode(offered) == "the card is lost and I would like a new one"
    assert offered[-1] == renderer.tokenizer.eos_id
