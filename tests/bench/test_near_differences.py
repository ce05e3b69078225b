"""Differences between two de-duplications are told with who is right."""

import pytest

from bench.near_differences import differences, likeness

TEXT = " ".join(f"word{n}" for n in range(40))


def test_likeness_of_words_and_of_runs():
    assert likeness(TEXT, TEXT.upper()) == (1.0, 1.0)
    words, runs = likeness(TEXT, TEXT.replace("word7 ", "other "))
    assert words == pytest.approx(39 / 40)
    assert runs == pytest.approx(31 / 41)
    assert likeness(TEXT, "nothing in common at all here") == (0.0, 0.0)


def test_a_wrong_drop_and_a_missed_one_are_told_apart():
    texts = [TEXT, TEXT + " more", "something else entirely about parcels and where they went", TEXT + " again"]
    theirs, ours = [0, 0, 0, 3], [0, 0, 2, 0]  # they drop row 2 wrongly, and miss row 3
    assert differences(texts, theirs, ours) == [("theirs", 1, 0, 0), ("metier", 1, 1, 1)]
