import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.score.structured import compare, leaves, parse, value_at

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
REFERENCE = '{"intent": "refund", "order": {"id": 7, "items": ["cup", "cup", "pot"]}}'


@pytest.mark.parametrize(
    "text", ["", "refund", '"text"', "3", "null", '{"a": 1', '{"a": NaN}', '{"a": 1} indeed', "{'a': 1}", "[" * 9999]
)
def test_what_is_no_structure(text: str) -> None:
    assert parse(text) is None
    assert leaves(parse(text)) is None


@given(st.lists(JSON, min_size=1, max_size=3) | st.dictionaries(st.text(max_size=3), JSON, min_size=1, max_size=3))
def test_a_structure_agrees_with_itself(value: object) -> None:
    match = compare(json.dumps(value, indent=2), json.dumps(value, ensure_ascii=False))
    assert match.wrong == match.extra == ()
    assert (match.false_alarms, match.misses) == (0, 0)
    assert match.hits > 0


def test_fields_are_compared_by_path() -> None:
    answer = '{"intent": "exchange", "order": {"id": 7.0, "items": ["pot", "cup"], "note": null}, "tone": "calm"}'
    match = compare(answer, REFERENCE)
    assert match.right == ("order.id",)
    assert match.wrong == ("intent", "order.items[]")
    assert match.extra == ("order.note", "tone")
    assert (match.hits, match.false_alarms, match.misses) == (3, 3, 2)


def test_the_order_of_an_array_does_not_count_but_how_often_does() -> None:
    assert compare('{"a": [1, 2, 2]}', '{"a": [2, 1, 2]}').right == ("a[]",)
    assert compare('{"a": [1, 1, 2]}', '{"a": [2, 1, 2]}').wrong == ("a[]",)


def test_an_answer_that_is_no_structure_has_every_field_wrong() -> None:
    match = compare("I cannot do that.", REFERENCE)
    assert match.right == ()
    assert (match.hits, match.false_alarms, match.misses) == (0, 0, 5)


def test_an_empty_array_is_a_value() -> None:
    assert compare('{"tags": []}', '{"tags": []}').right == ("tags",)
    assert compare("{}", '{"tags": []}').wrong == ("tags",)


def test_value_at_shows_what_stands_there() -> None:
    table = leaves(parse(REFERENCE))
    assert value_at(table, "intent") == '"refund"'
    assert value_at(table, "order.items[]") == '"cup", "cup", "pot"'
    assert value_at(table, "tone") is None
    assert value_at(None, "tone") is None


def test_an_empty_answer_invents_nothing() -> None:
    match = compare("{}", REFERENCE)
    assert match.extra == ()
    assert (match.hits, match.false_alarms, match.misses) == (0, 0, 5)
