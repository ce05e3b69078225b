"""Names told of many texts at once: the same as those told of each text alone, whatever stands around them."""

import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.prepare.protect import listed, names
from metier.prepare.protect.listed import Listed

_PIECES = ("Anna", "Peterson", "Will", "Zo\u00eb", "M\u00fcller", "Mr", "Dear", "McAnna", "anna", "AnnaBell", "A", "Go")
_SIGNS = (" ", "\n", ". ", "-", "_", "'", "\u2019", "\u201c", "1", "\u0662", "\u00e9", "x", "\U0001f600", "")


@settings(deadline=None, max_examples=150)
@given(st.lists(st.lists(st.sampled_from((*_PIECES, *_SIGNS)), max_size=25).map("".join), min_size=1, max_size=6))
def test_names_of_many_texts_are_those_of_each_alone(texts):
    """Planted: names inside other words, behind digits, with letters of other scripts, and texts full of these."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(listed, "WORTH_CHARACTERS", 0)
        standing = names.standing(texts)
    for text, found in zip(texts, standing, strict=True):
        assert list(names.names(text, standing=found)) == list(names.names(text))


def test_words_of_a_list_are_found_where_they_stand(monkeypatch):
    monkeypatch.setattr(listed, "WORTH_CHARACTERS", 0)
    known = Listed(["Anna", "Bartholomew", "Jos\u00e9", "Bartholomeus", "O'Neill"])
    texts = [
        "",
        "Anna and Bartholomew, Bartholomews",
        "1Anna _Anna",
        "then Jos\u00e9 went home" + " again" * 30,
        "\u00e9" * 9,
    ]
    assert known.standing(texts) == [
        [], [(0, "Anna"), (9, "Bartholomew")], [(7, "Anna")], [(5, "Jos\u00e9")], None,
    ]  # fmt: skip


def test_few_characters_are_not_worth_it():
    assert Listed(["Anna"]).standing(["Anna", "Bell"]) == [None, None]


def test_other_words_are_hardly_ever_read():
    """Planted: a sieve that lets everything through."""
    draw = np.random.default_rng(0)
    words = ["".join(draw.choice(list(string.ascii_lowercase), 7)).title() for _ in range(20_000)]
    known = Listed(words[:10_000])
    _, slots = listed._beginnings("\n".join(["", *words[10_000:], "\n" * 8]))
    assert known._sieve[slots].mean() < 0.03
