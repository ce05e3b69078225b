"""What is found, what is left alone, and that nothing ordinary is taken for a secret."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.prepare.protect.detect import detector
from metier.prepare.protect.settings import DEFAULT_ENTITIES
from metier.prepare.protect.spans import ENTITIES, Span, disjoint
from tests.prepare.protect.samples import INNOCENT, SECRETS, VALUES

FIND = detector(ENTITIES, ("US", "GB"))


def found(text: str) -> list[tuple[str, str]]:
    return [(text[span.start : span.end], span.entity) for span in FIND(text)]


@pytest.mark.parametrize(
    ("entity", "sentence", "value"),
    [(entity, sentence, value) for entity, cases in VALUES.items() for sentence, value in cases],
)
def test_a_value_is_found_whole(entity, sentence, value):
    assert found(sentence.format(value)) == [(value, entity)]


@pytest.mark.parametrize("issuer", SECRETS)
def test_keys_are_known_by_their_form(issuer):
    assert (SECRETS[issuer], "secret") in found(f"use this: {SECRETS[issuer]} thanks")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("password=" + "hunter2!", "hunter2!"), ("my password is " + "Tr0ub4dor&3.", "Tr0ub4dor&3"),
        ('"api_key": "' + 'k9x8w7v6u5t4"', "k9x8w7v6u5t4"), ("postgres://app:" + "s3cr3t" + "@db.internal/x", "s3cr3t"),
        ("Authorization: Bearer " + "a1B2c3D4e5F6g7H8i9", "a1B2c3D4e5F6g7H8i9"),
    ],
)  # fmt: skip
def test_a_value_after_a_word_that_says_so_is_a_secret(text, value):
    assert (value, "secret") in found(text)


@pytest.mark.parametrize("text", INNOCENT)
def test_ordinary_text_is_left_alone(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("4111 1111 1111 1111", "4111 1111 1111 1112"), ("DE89370400440532013000", "DE89370400440532013001"),
        ("AB123456C", "QQ123456C"), ("54362315K", "54362315L"),
    ],
)  # fmt: skip
def test_a_wrong_check_digit_is_no_value(right, wrong):
    assert found(right) != []
    assert [entity for _, entity in found(wrong) if entity in ("card", "iban", "national_id")] == []


def test_the_word_after_a_name_is_no_initial():
    assert found("This is Maria I want to go home") == [("Maria", "person")]
    assert found("This is Maria J. Lopez") == [("Maria J. Lopez", "person")]


def test_only_what_is_asked_for_is_found():
    text = "maria@corp.com, +49 170 1234567"
    assert {span.entity for span in detector(("email",))(text)} == {"email"}
    assert {span.entity for span in detector(("phone",))(text)} == {"phone"}


def test_a_region_decides_what_is_a_national_number():
    text = "0170 1234567 is where you find me"
    assert detector(("phone",), ("DE",))(text) != []
    assert not detector(("phone",), ("US",))(text)


@given(st.text(max_size=300))
def test_any_text_gives_disjoint_places_in_order(text):
    spans = FIND(text)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(one.end <= other.start for one, other in itertools.pairwise(spans))


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 12), st.sampled_from(ENTITIES)).map(
            lambda drawn: Span(drawn[0], drawn[0] + drawn[1], drawn[2])
        ),
        max_size=8,
    )
)
def test_making_places_disjoint_uncovers_nothing(spans):
    kept = disjoint(spans)
    assert {place for span in spans for place in range(span.start, span.end)} == {
        place for span in kept for place in range(span.start, span.end)
    }
    assert all(one.end <= other.start for one, other in itertools.pairwise(kept))


def test_urls_and_dates_are_known_but_not_looked_for_by_default():
    assert set(ENTITIES) - set(DEFAULT_ENTITIES) == {"url", "date"}
