"""Changes of wording: words of the answer, numbers and codes are left alone, and nothing is lost."""

import re
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metier.prepare.augment.wording import with_other_case, with_other_order, with_typos, words_of

TEXT = "My parcel 4711 to Hamburg has not arrived yet. Please send it again to tom@corp.com soon! What will that cost?"


def random(seed=0):
    return np.random.default_rng(seed)


def test_slips_come_in_the_share_asked_for_and_spare_what_is_quoted():
    few, many = (with_typos(TEXT, share, {"hamburg"}, random()) for share in (0.01, 0.5))
    changed = [sum(one != other for one, other in zip(TEXT.split(), text.split(), strict=True)) for text in (few, many)]
    assert changed[0] == 1
    assert changed[1] >= 5
    for text in (few, many):
        assert all(part in text for part in ("4711", "Hamburg", "tom@corp.com"))


@given(st.text(max_size=200), st.integers(0, 99))
def test_slips_change_words_and_nothing_between_them(text, seed):
    after = with_typos(text, 0.3, (), random(seed))
    assert len(after.split()) == len(text.split())
    assert re.findall(r"[\d@]", after) == re.findall(r"[\d@]", text)
    assert [word[:1] for word in after.split()] == [word[:1] for word in text.split()]


@given(st.text(max_size=200), st.integers(0, 99))
def test_another_case_is_the_same_text_but_for_case(text, seed):
    after = with_other_case(text, (), random(seed))
    assert len(after) == len(text)
    assert after.casefold() == text.casefold() or after.lower() == text.lower() or after.upper() == text.upper()


def test_case_spares_the_words_of_the_answer_and_addresses():
    seen = {with_other_case(TEXT, {"hamburg"}, random(seed)) for seed in range(20)}
    assert len(seen) == 3
    assert all("Hamburg" in text and "tom@corp.com" in text for text in seen)


def test_sentences_change_places_only_where_none_leans_on_another():
    seen = {with_other_order(TEXT, random(seed)) for seed in range(40)}
    assert len(seen) == 6
    assert {tuple(sorted(Counter(text.split()).items())) for text in seen} == {
        tuple(sorted(Counter(TEXT.split()).items()))
    }
    for text in ("One sentence alone.", "First this.\nThen that.", "I sent a parcel. It has not come.", "No end. here"):
        assert with_other_order(text, random()) == text


def test_words_are_found_in_small_letters():
    assert words_of("It's 5 Cards, CARDS") == {"it", "s", "cards"}
