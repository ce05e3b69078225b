"""Shortcuts of cleaning and of looking for personal data: each gives what the long way gives."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metier.core.types import ChatRow, Message
from metier.prepare.candidate import Candidate
from metier.prepare.cleaning import refusals
from metier.prepare.cleaning import stage as cleaning
from metier.prepare.cleaning.settings import CleanSettings
from metier.prepare.cleaning.texts import Piece
from metier.prepare.protect import detect
from metier.prepare.protect.settings import DEFAULT_ENTITIES

DIRT = (
    " ", "  ", "\n", "\r\n", "\t", "\x07", "\x7f", "<b>", "&amp;", "caf\u00c3\u00a9", "e\u0301", "\u200b", "\u00a0",
    "> quoted", "--", "Regards,\nAda", "plain words", "I am an AI", "As an AI language model", "ChatGPT", "como ia",
    "my training data goes",
    "als k\u00fcnstliche intelligenz", "\u017f", "\u212a", "\u0130", "\u0131", "an A\u0130",
    "call +49 30 1234567", "Ada Lovelace", "ada@corp.com", "als KI", "en tant qu'IA", ".", "x",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(DIRT) | st.text(max_size=6), min_size=1, max_size=6).map(" ".join)
EVERYTHING = CleanSettings.model_validate(
    dict.fromkeys(("encoding", "unicode", "html", "signatures", "whitespace"), "fix")
)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.sampled_from(["told", "asked", "answered", "document"]))
def test_a_text_that_is_passed_by_as_plain_is_one_that_no_repair_changes(text, side):
    repairs = cleaning._repairs(EVERYTHING)
    if cleaning._is_plain(text):
        assert cleaning._versions(repairs, Piece(text, side)) == ()


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, min_size=2, max_size=5))
def test_what_is_remembered_of_a_text_is_what_is_found_anew(texts):
    turns = tuple(Message(role="assistant" if place % 2 else "user", content=text) for place, text in enumerate(texts))
    row = ChatRow(id="0" * 24, source="a:1", messages=turns)
    stage = cleaning.stage(EVERYTHING)
    first, again = (next(iter(stage([Candidate(row, "{}", {}, "train")]))) for _ in range(2))
    assert first == again == next(iter(cleaning.stage(EVERYTHING)([Candidate(row, "{}", {}, "train")])))


@settings(max_examples=300, deadline=None)
@given(TEXTS)
@example("AS AN AI")
@example("I’m an AI chatbot")
@example("Als K\u00dcNSTLICHE Intelligenz – nein")
@example("En tant qu\u2019IA – AS AN A\u0130, \u017fo")
@example("als \u212aI")
def test_no_machine_is_missed_by_the_test_before_the_search(text):
    plain = text.replace("’", "'")
    wanted = refusals.RESIDUE if refusals._MACHINE.search(plain) else ""
    assert (refusals.found(text) == refusals.RESIDUE) == bool(wanted)


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_spans_that_are_remembered_are_those_found_anew(text):
    find = detect.detector(DEFAULT_ENTITIES)
    assert find(text) == find(text) == detect.detector(DEFAULT_ENTITIES)(text)


@pytest.mark.parametrize("size", [detect._LONGEST_REMEMBERED, detect._LONGEST_REMEMBERED + 100])
def test_long_texts_are_looked_through_but_not_remembered(size):
    text = "write to ada@corp.com " + "x" * size
    assert [span.entity for span in detect.detector(("email",))(text)] == ["email"]
