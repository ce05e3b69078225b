import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.score import kinds


@pytest.mark.parametrize(
    ("answers", "labelled", "kind"),
    [
        (["a", "b"] * 10, False, "label"),
        ([f"word {n}" for n in range(20)], False, "short"),
        ([f"word {n}" for n in range(20)], True, "label"),
        (['{"a": 1}'] * 3, False, "json"),
        (['{"a": 1}'] * 3, True, "label"),
        (['{"name": "f", "arguments": {}}'] * 5 + ["I cannot."] * 5, False, "calls"),
        (['<tool_call>{"name": "f", "parameters": {"a": 1}}</tool_call>'] * 3, False, "calls"),
        (['{"name": "f", "arguments": {}}'] * 4 + ["I cannot."] * 5, False, "label"),
        (['{"name": "Ann", "input": {"a": 1}}'] * 3, False, "json"),
        (["f(a=1)"] * 3, False, "label"),
        (['{"a": 1}'] * 6 + ["no order here"] * 4, False, "json"),
        (["a" * 65, "b"] * 9, False, "short"),
        (["one\ntwo", "b"] * 9, False, "short"),
        ([f"a rather long answer of more than five words, the {n}th" for n in range(9)], False, "text"),
    ],
)
def test_the_kind_of_answer_is_what_right_answers_show(answers, labelled, kind):
    found = kinds.recognise(answers, labelled=labelled)
    assert found.kind == kind
    assert found.reason


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(max_size=80), min_size=1, max_size=30), st.booleans())
def test_any_answers_are_of_some_kind_whatever_their_order(answers, labelled):
    found = kinds.recognise(answers, labelled=labelled)
    assert found == kinds.recognise(answers[::-1], labelled=labelled)
    assert kinds.are_short(answers) == (kinds.words(answers) <= 5)
