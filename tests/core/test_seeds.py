"""Randomness is a function of names, never of history."""

import os
import subprocess
import sys
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metier.core import seeds

PARTS = st.one_of(
    st.integers(-(2**40), 2**40), st.text(st.characters(codec="utf-8", exclude_characters="\x1f"), max_size=8)
)


def test_keys_are_the_same_for_ever():
    """Numbers written down: a change here would change every run that anybody has made."""
    assert seeds.key("order", 0, 1) == 4144806880710626573
    assert seeds.key() == 8238016292129134938
    assert seeds.permutation(8, "order", 0).tolist() == [0, 5, 2, 6, 3, 1, 4, 7]


@given(st.lists(PARTS, max_size=4), st.lists(PARTS, max_size=4))
def test_different_names_give_different_keys(first, second):
    assert (seeds.key(*first) == seeds.key(*second)) == (
        first == second and list(map(type, first)) == list(map(type, second))
    )
    assert 0 <= seeds.key(*first) < 2**63


def test_a_number_and_its_text_are_two_names():
    assert seeds.key(1) != seeds.key("1")
    assert seeds.key("ab", "c") != seeds.key("a", "bc")


def test_the_hash_seed_of_python_changes_nothing():
    code = "from metier.core import seeds; print(seeds.key('a', 1), seeds.unit('x'), list(seeds.permutation(9, 'p')))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(outputs) == 1


def test_drawing_before_changes_nothing_after():
    seeds.generator("other").random(100)
    np.random.default_rng(0).random(100)
    assert seeds.generator("a", 3).random() == seeds.generator("a", 3).random()
    assert seeds.generator("a", 3).random() != seeds.generator("a", 4).random()


@given(st.integers(0, 200), st.integers(0, 5))
def test_a_permutation_has_everything_once(count, seed):
    order = seeds.permutation(count, "p", seed)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(count))


def test_places_on_the_line_are_spread_evenly():
    tenths = Counter(int(10 * seeds.unit("row", number)) for number in range(5000))
    assert set(tenths) == set(range(10))
    assert max(abs(count - 500) for count in tenths.values()) < 100
