import math

import numpy as np
import pytest
import sacrebleu

from metier.score import generation

SAID = ["the cat sat on the mat today", "there is a house near the big river bank", "nothing like it at all here"]
WANTED = ["the cat sat on the red mat", "there is a house by the big river bank", "a dog barked at the moon"]


def test_bleu_of_sums_is_the_corpus_bleu_of_sacrebleu() -> None:
    sums = generation.bleu_columns(SAID, WANTED).sum(axis=0)
    assert generation.bleu(sums) == pytest.approx(sacrebleu.corpus_bleu(SAID, [WANTED]).score / 100)
    part = generation.bleu_columns(SAID, WANTED)[:2].sum(axis=0)
    assert generation.bleu(part) == pytest.approx(sacrebleu.corpus_bleu(SAID[:2], [WANTED[:2]]).score / 100)


def test_bleu_at_its_ends() -> None:
    assert generation.bleu(generation.bleu_columns(WANTED, WANTED).sum(axis=0)) == pytest.approx(1)
    assert generation.bleu(generation.bleu_columns(["quite other words here now"], WANTED[:1]).sum(axis=0)) == 0
    assert math.isnan(generation.bleu(np.zeros(10)))


def test_chrf_is_sacrebleu_s() -> None:
    assert generation.chrf(SAID, WANTED)[0] == pytest.approx(sacrebleu.sentence_chrf(SAID[0], [WANTED[0]]).score / 100)


def test_rouge_by_hand() -> None:
    (value,) = generation.rouge("rouge_1", ["red cats"], ["red cat sleeps"])
    assert value == pytest.approx(2 * (2 / 2) * (2 / 3) / (1 + 2 / 3))
    (value,) = generation.rouge("rouge_l", ["b a c"], ["a b c"])
    assert value == pytest.approx(2 / 3)


def test_gleu_and_likeness() -> None:
    assert generation.gleu("a b", "a b") == 1
    assert generation.gleu("a b c d", "a b") == pytest.approx(3 / 10)
    assert generation.gleu("", "") == 1
    assert generation.likeness("abcd", "bcde") == 0.75


@pytest.mark.parametrize("kind", ["chrf", "gleu", "fuzzy_match", "rouge_2", "rouge_l"])
def test_every_similarity_is_1_for_the_reference_and_less_for_something_else(kind: str) -> None:
    same, other = generation.similarities(kind, [WANTED[0], SAID[2]], [WANTED[0], WANTED[2]])
    assert same == pytest.approx(1)
    assert 0 <= other < 0.7
