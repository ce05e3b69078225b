"""What stands in for a value: the same every time, known as such by itself, and of nobody."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.prepare.protect.detect import detector
from metier.prepare.protect.spans import ENTITIES
from metier.prepare.protect.surrogates import Surrogates, is_surrogate_name, mask
from tests.prepare.protect.samples import VALUES

MADE = Surrogates(b"k" * 32)
FIND = detector(ENTITIES, ("US", "GB", "DE"))
CASES = [(entity, sentence, value) for entity, cases in VALUES.items() for sentence, value in cases]


@pytest.mark.parametrize(("entity", "sentence", "value"), CASES)
def test_no_detector_takes_a_stand_in_for_a_value(entity, sentence, value):
    assert list(FIND(sentence.format(mask(entity)))) == []
    assert list(FIND(sentence.format(MADE.of(value, entity)))) == []


@pytest.mark.parametrize(("entity", "sentence", "value"), CASES)
def test_a_stand_in_is_a_function_of_key_and_value(entity, sentence, value):
    assert MADE.of(value, entity) == Surrogates(b"k" * 32).of(value, entity) != value
    if entity != "date":
        assert MADE.of(value, entity) != Surrogates(b"l" * 32).of(value, entity)


def test_a_person_keeps_one_name_in_every_form():
    first, last = MADE.of("Maria Lopez", "person").split()
    assert MADE.of("Maria", "person") == first
    assert MADE.of("LOPEZ", "person") == last.upper()
    assert MADE.of("maria lopez", "person") == f"{first} {last}".lower()
    assert MADE.of("maria.lopez@corp.com", "email").startswith(f"{first}.{last}@".lower())
    assert MADE.of("Lopez-Maria", "person") == f"{last}-{first}"


def test_a_number_keeps_its_form_and_its_sense():
    assert re.fullmatch(r"\(\d{3}\) \d{3}-\d{4}", MADE.of("(212) 555-7890", "phone"))
    assert MADE.of("212.555.7890", "phone").replace(".", "") == re.sub(r"\D", "", MADE.of("(212) 555-7890", "phone"))
    assert MADE.of("DE89 3704 0044 0532 0130 00", "iban").startswith("ZZ00 ")


@given(st.text(st.characters(whitelist_categories=("L",)), min_size=2, max_size=20))
def test_a_made_up_name_is_known_by_itself(name):
    words = MADE.of(name, "person").split()
    assert all(is_surrogate_name(word) for word in words)


def test_no_name_of_the_gazetteer_is_taken_for_a_made_up_one():
    from metier.prepare.protect.gazetteer import gazetteer

    known = gazetteer()
    assert [name for name in known.given | known.family if is_surrogate_name(name)] == []


@given(st.from_regex(r"\+?[0-9]{1,3}[ -]?\(?[0-9]{2,4}\)?[ -]?[0-9]{3}[ -]?[0-9]{3,5}", fullmatch=True))
def test_no_phone_number_that_stands_in_is_found_even_after_a_word_that_says_so(value):
    assert list(FIND(f"Phone: {MADE.of(value, 'phone')}")) == []
