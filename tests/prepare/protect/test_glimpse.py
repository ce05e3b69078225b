"""One scan for digits: whatever a rule finds, the scan had said that it may."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from metier.prepare.protect import detect
from metier.prepare.protect.glimpse import Glimpse, glimpse
from metier.prepare.protect.spans import ENTITIES

EVERYTHING = Glimpse(True, True, True, True)
PIECES = (
    "+49 30 1234567",
    "5 Main Street",
    "Hauptstrasse 12",
    "AB 12 34 56 C",
    "12345678Z",
    "X-1234567-L",
    "4111 1111 1111 1111",
    "GB29 NWBK 6016 1331 9268 19",
    "10.1.2.3",
    "::1",
    "fe80::1:2",
    "1.2.2020",
    "passport no. AB12345",
    "P.O. Box 77",
    "ssn",
    "is 078-05-1120",
    "call 5551234",
    "Suite 9",
    "12:30",
    "7%",
    "3.5",
    "no",
    "-",
    ",",
    ".",
    "x",
    "(0",
    ")",
    "#",
    "2020-01-02",
)
TEXTS = some.lists(some.one_of(some.sampled_from(PIECES), some.text(max_size=6)), max_size=6).flatmap(
    lambda pieces: some.sampled_from(["", " ", "\n"]).map(lambda gap: gap.join(pieces))
)


def found(text: str) -> list[detect.Span]:
    return detect._all(text, frozenset(ENTITIES), ("US", "GB"))


@settings(deadline=None, max_examples=300)
@given(TEXTS)
def test_no_rule_finds_what_the_scan_rules_out(text: str):
    ours = found(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detect, "glimpse", lambda text: EVERYTHING if re.search(r"\d", text) else None)
        assert ours == found(text)


@pytest.mark.parametrize("piece", [piece for piece in PIECES if found(f"a {piece} b")])
def test_a_scan_that_says_no_would_be_noticed(piece: str, monkeypatch):
    monkeypatch.setattr(detect, "glimpse", lambda text: Glimpse(False, False, False, False))
    assert not [span for span in found(f"a {piece} b") if span.entity != "date"]


def test_a_number_in_a_sentence_costs_nothing_more():
    assert glimpse("The lamp that I lost, number 12345: is it there") == Glimpse(False, False, False, False)
    assert glimpse("no digit") is None
