"""Frequent runs of words: found wherever they stand, and rows without one are never hashed to see that."""

import random

import numpy as np
import pytest

from metier.prepare.duplicates.frame import FEWEST_ROWS, RUN_WORDS, frame_of, in_frame, touched
from metier.prepare.duplicates.shelf import Compared, fill
from metier.prepare.duplicates.words import Spots, places_of, windows_of, words_at
from tests.prepare.duplicates.planted import WORDS

_TEMPLATE = "Be so kind and read what follows, then answer it in one short and friendly sentence: "


@pytest.fixture
def shelf(tmp_path):
    """A hundred rows, of which a third begin with a template, in question or answer, and some with a part of it."""
    chosen, rows = random.Random(0), []
    for number in range(100):
        begun = (_TEMPLATE, "", "", "Be so kind and read ")[number % 4]
        parts = [" ".join(chosen.choices(WORDS, k=chosen.randint(0, 30))) for _ in range(2)]
        parts[number % 2] = begun + parts[number % 2]
        rows.append(Compared("", *parts, 0))
    return fill(rows, tmp_path / "texts").compared(np.arange(len(rows)))


def _covered(shelf, frame):
    texts = shelf.take(np.arange(len(shelf)))
    spots = places_of(texts)
    letters = windows_of(texts.buffer)[spots.begins]
    return spots, letters, in_frame(words_at(texts, spots, letters), frame), texts


def test_a_template_is_the_frame_wherever_it_stands(shelf):
    _, _, covered, _ = _covered(shelf, frame_of(shelf))
    assert covered.sum() == 25 * len(_TEMPLATE.split())
    assert len(frame_of(shelf).runs) == len(_TEMPLATE.split()) - RUN_WORDS + 1


def test_what_is_in_no_frame_is_left_out_and_nothing_else_is(shelf):
    """Planted: rows that begin as the template does and go on otherwise."""
    frame = frame_of(shelf)
    spots, letters, covered, texts = _covered(shelf, frame)
    some = touched(letters, spots.owners, frame)
    part = in_frame(words_at(texts, Spots(*(column[some] for column in spots)), letters[some]), frame)
    assert np.array_equal(some[part], np.flatnonzero(covered))
    assert 0 < len(some) < 0.7 * len(letters)


def test_few_rows_and_rows_that_share_nothing_have_no_frame(tmp_path):
    few = fill([Compared("", _TEMPLATE, "yes", 0)] * (FEWEST_ROWS - 1), tmp_path / "few")
    assert not len(frame_of(few.compared(np.arange(len(few)))).runs)
    own = fill(
        [Compared("", " ".join(f"{word}{row}" for word in WORDS[:40]), "", 0) for row in range(50)], tmp_path / "own"
    )
    frame = frame_of(own.compared(np.arange(50)))
    assert not len(frame.runs)
    assert not len(touched(np.arange(9, dtype=np.uint64), np.zeros(9, np.int64), frame))
