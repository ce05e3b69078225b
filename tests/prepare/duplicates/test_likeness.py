"""How alike two rows are: long rows of one word, many pairs at once."""

import tracemalloc

import numpy as np
import pytest

from metier.prepare.duplicates import likeness
from metier.prepare.duplicates.frame import NO_FRAME
from metier.prepare.duplicates.likeness import alike
from metier.prepare.duplicates.shelf import Compared, Shelf, fill


def _shelf(texts, folder) -> Shelf:
    return fill((Compared("", "", text, 0) for text in texts), folder / "texts").compared(np.arange(len(texts)))


@pytest.mark.parametrize("count", [65_530, 65_545, 140_000])
def test_a_word_may_stand_there_any_number_of_times(tmp_path, count):
    one = " ".join(["yes"] * count)
    shelf = _shelf([one, one.replace("yes", "no", 9)], tmp_path)
    assert alike(shelf, np.array([[0, 1]]), NO_FRAME, 0.8).tolist() == [True]


def test_many_short_pairs_take_no_more_memory_than_few(tmp_path):
    count = 1 << 14
    shelf = _shelf([f"so {number} is not {number + 1} is it" for number in range(2 * count)], tmp_path)
    pairs = np.arange(2 * count).reshape(-1, 2)
    tracemalloc.start()
    try:
        assert not alike(shelf, pairs, NO_FRAME, 0.8).any()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20


def test_pairs_are_judged_in_parts_as_together(tmp_path, monkeypatch):
    texts = [
        f"the barn door of {number % 9} is open {'wide ' * 70} {'and shut ' * (number % 8)}" for number in range(40)
    ]
    shelf = _shelf(texts, tmp_path)
    pairs = np.array([(one, other) for one in range(40) for other in range(one)])
    seen = []
    for size in (1 << 11, 3):
        monkeypatch.setattr(likeness, "_BATCH_PAIRS", size)
        seen.append(alike(shelf, pairs, NO_FRAME, 0.9).tolist())
    assert seen[0] == seen[1]
    assert 0 < sum(seen[0]) < len(pairs)
