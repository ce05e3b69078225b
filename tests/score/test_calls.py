import json
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as some

from metier.score import calls
from metier.score.calls import Call

WEATHER = Call(name="weather", arguments={"city": "Bern", "days": 2})
REFERENCE = '{"arguments":{"city":"Bern","days":2},"name":"weather"}'


@pytest.mark.parametrize(
    "text",
    [
        REFERENCE,
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Bern", "days": 2.0}}\n</tool_call>',
        'I will look.\n```json\n[{"name": "weather", "parameters": {"days": 2, "city": "Bern"}}]\n```',
        '{"tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": "{\\"city\\": \\"Bern\\", \\"days\\": 2}"}}]}',  # noqa: E501
        "[weather(city='Bern', days=2)]",
        "weather(days=2, city='Bern')",
    ],
)
def test_one_call_however_it_is_written(text: str) -> None:
    assert calls.compare(text, REFERENCE).same


@pytest.mark.parametrize("text", ["", "no call", "{broken", '{"name": 1}', "f(1)", "print('x' if 1 else 2)", "[1, 2]"])
def test_what_is_no_call(text: str) -> None:
    assert calls.parse(text) == []


def test_names_arguments_and_order_are_counted_apart() -> None:
    one, other = '{"name":"a","arguments":{"x":1}}', '{"name":"b","arguments":{"y":[1,2]}}'
    swapped = calls.compare(f"{other}\n{one}", f"{one}\n{other}")
    assert (swapped.same, swapped.in_order, swapped.names, swapped.arguments) == (False, False, (2, 0, 0), (2, 0, 0))
    assert calls.compare(f"{other}\n{one}", f"{one}\n{other}", ordered=False).same
    wrong = calls.compare('{"name":"a","arguments":{"x":2,"z":0}}', f"{one}\n{other}")
    assert (wrong.same, wrong.names, wrong.arguments) == (False, (1, 0, 1), (0, 2, 2))


@given(some.text(max_size=200))
def test_any_text_can_be_looked_at(text: str) -> None:
    assert all(isinstance(call.name, str) for call in calls.parse(text))


@pytest.mark.parametrize(
    "text", ["[" * 200_000, "{" * 200_000, '{"a":' * 40_000, '["x",' * 900 + "1," * 90_000, "f(),"]
)
def test_an_answer_that_loses_itself_in_brackets_takes_no_minutes(text: str) -> None:
    """Planted fault: each beginning is read to its end in vain; the second and third took most of a minute."""
    started = process_time()
    assert calls.parse(f"[{text * 20_000}]" if text == "f()," else text) == []
    assert process_time() - started < 3


def test_braces_before_a_call_do_not_hide_it() -> None:
    formula = r"\frac{a}{b} [see [1] and {this}] " * 300
    assert calls.parse(formula + REFERENCE) == [WEATHER]


_VALUES = some.recursive(
    some.none() | some.booleans() | some.integers(-(2**53), 2**53) | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(some.dictionaries(some.text(min_size=1, max_size=5), _VALUES, max_size=4))
def test_what_is_written_is_read(arguments: dict[str, object]) -> None:
    text = "words before " + json.dumps({"name": "f", "arguments": arguments}) + " and after"
    assert calls.parse(text) == [Call(name="f", arguments=arguments)]
