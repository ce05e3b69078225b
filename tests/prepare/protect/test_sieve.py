"""One scan for each rule over many texts: whatever a rule finds, the scan had said that it may."""

import sys

import pyarrow as arrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pyarrow import compute

from metier.prepare.protect import detect, sieve
from metier.prepare.protect.detect import detector
from metier.prepare.protect.spans import ENTITIES
from tests.prepare.protect.samples import INNOCENT, SECRETS, VALUES

FIND = detector(ENTITIES, ("US", "GB"))
PIECES = (
    "+49 30 1234567", "5 Main Street", "Hauptstrasse 12", "AB 12 34 56 C", "12345678Z", "X-1234567-L",
    "4111 1111 1111 1111", "GB29 NWBK 6016 1331 9268 19", "10.1.2.3", "::1", "fe80::1:2", "1.2.2020",
    "passport no. AB12345", "P.O. Box 77", "ssn", "is 078-05-1120", "call 5551234", "Suite 9", "12:30", "7%", "3.5",
    "no", "-", ",", ".", "x", "(0", ")", "#", "2020-01-02", "3rd, 5", "42 rue de la Paix", "I live at 7 elm 44",
    "zip code is 90210", "I'm maria", "my name is", "password:", "hunter2!", "sk-", "://", "@corp.com",
)  # fmt: skip
SAMPLES = (
    *PIECES, *SECRETS.values(), *INNOCENT,
    *(sentence.format(value) for cases in VALUES.values() for sentence, value in cases),
)  # fmt: skip
TEXTS = some.lists(some.one_of(some.sampled_from(SAMPLES), some.text(max_size=6)), max_size=6).flatmap(
    lambda pieces: some.sampled_from(["", " ", "\n", "\t", "\u00a0"]).map(lambda gap: gap.join(pieces))
)


def sifted(texts: list[str]) -> list:
    """Return what is found behind the scan, however short the texts are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sieve, "WORTH_CHARACTERS", 0)
        return detector(ENTITIES, ("US", "GB")).many(texts)


@settings(deadline=None, max_examples=120)
@given(some.lists(TEXTS, min_size=1, max_size=8))
def test_no_rule_finds_what_the_scan_rules_out(texts: list[str]):
    assert sifted(texts) == FIND.many(texts) == [FIND(text) for text in texts]


@pytest.mark.parametrize("text", SAMPLES)
def test_what_is_found_alone_is_found_behind_the_scan(text: str):
    padding = "nothing to see here " * 1000  # worth a scan
    assert FIND.many([text, padding])[0] == FIND(text)


@pytest.mark.parametrize("text", [text for text in SAMPLES if any(span.entity != "person" for span in FIND(text))])
def test_a_scan_that_says_no_would_be_noticed(text: str, monkeypatch):
    monkeypatch.setattr(detect, "sieved", lambda texts, patterns: [0] * len(texts))
    assert {span.entity for span in FIND.many([text])[0]} <= {"person"}


def test_what_is_ruled_out_is_not_read(monkeypatch):
    monkeypatch.setattr(sieve, "WORTH_CHARACTERS", 0)
    read: list[str] = []
    monkeypatch.setattr(detect, "named", lambda text: read.append(text) or [])
    finder = detector(("secret",))
    finder.many(["the lamp that I lost, number 12345: is it there?", "the key: hunter2!"])
    assert read == ["the key: hunter2!"]


def test_half_a_character_is_no_reason_to_rule_anything_out():
    text = "\ud800 call +49 30 1234567 " + "x" * sieve.WORTH_CHARACTERS
    assert [span.entity for span in FIND.many([text, "a"])[0]] == ["phone"]


def test_digits_and_letters_are_at_least_those_of_python():
    letters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    column = arrow.array(letters)
    for pattern, told in ((sieve.DIGIT, str.isdecimal), (sieve.SPACE, str.isspace), (sieve.UPPER, str.isupper)):
        found = compute.match_substring_regex(column, pattern).to_pylist()
        assert [letter for letter, match in zip(letters, found, strict=True) if told(letter) and not match] == []
