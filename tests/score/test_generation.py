import math
from collections.abc import Sequence
from time import process_time

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as some
from rouge_score.rouge_scorer import RougeScorer

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
    assert generation.likeness("", "") == 1
    assert generation.likeness("qabxcd", "abycdf") == pytest.approx(2 * 4 / 12)


@pytest.mark.parametrize("kind", ["chrf", "gleu", "fuzzy_match", "rouge_2", "rouge_l"])
def test_every_similarity_is_1_for_the_reference_and_less_for_something_else(kind: str) -> None:
    same, other = generation.similarities(kind, [WANTED[0], SAID[2]], [WANTED[0], WANTED[2]])
    assert same == pytest.approx(1)
    assert 0 <= other < 0.7


def by_table(one: Sequence[str], other: Sequence[str]) -> int:
    """The longest common subsequence as it is usually computed."""
    row = [0] * (len(other) + 1)
    for left in one:
        before = row
        row = [0]
        for place, right in enumerate(other):
            row.append(before[place] + 1 if left == right else max(before[place + 1], row[place]))
    return row[-1]


@given(some.text("abc", max_size=90), some.text("abc", max_size=90))
def test_the_longest_common_subsequence_is_that_of_the_table(one: str, other: str) -> None:
    assert generation.common(one, other) == by_table(one, other)


@given(*[some.lists(some.sampled_from(["cat", "cats", "running", "run", "b1", "."]), max_size=20)] * 2)
def test_rouge_l_is_that_of_rouge_score(one: list[str], other: list[str]) -> None:
    said, wanted = " ".join(one), " ".join(other)
    scored = RougeScorer(["rougeL"], use_stemmer=True).score(wanted, said)["rougeL"].fmeasure
    assert generation.rouge("rouge_l", [said], [wanted]) == [scored]


def test_long_answers_are_compared_in_seconds() -> None:
    """Planted fault: libraries' tables take half a minute for 10,000 characters, or a minute for as many words."""
    started = process_time()
    assert generation.likeness("ab" * 10_000, "ba" * 10_000) == pytest.approx(1, abs=1e-3)
    assert generation.rouge("rouge_l", ["a b " * 5_000], ["b a " * 5_000])[0] == pytest.approx(1, abs=1e-3)
    assert process_time() - started < 10
