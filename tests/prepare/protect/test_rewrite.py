"""A whole row: turns, labels, tool calls and tools; JSON stays JSON, and one person is one person everywhere."""

import json
from dataclasses import fields
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from metier.core.types import ChatRow, LabelledRow, Message, PreferenceRow, Row, TextRow
from metier.prepare.protect.detect import detector
from metier.prepare.protect.passages import mapped, passages
from metier.prepare.protect.rewrite import Finding
from metier.prepare.protect.settings import DEFAULT_ENTITIES
from metier.prepare.protect.surrogates import Surrogates, mask

FIND = detector(DEFAULT_ENTITIES)


def redacted(row, allow=()):
    return Finding.of(row, FIND, allow).rewritten(lambda value, entity: mask(entity))


def chat(*turns, **values):
    return ChatRow(id="1", source="a:1", messages=tuple(Message(**turn) for turn in turns), **values)


def test_a_name_that_is_given_once_is_known_in_all_turns():
    row = chat(
        {"role": "user", "content": "Hi, my name is Quentin Abernathyx."},
        {"role": "assistant", "content": "Hello Quentin! What can I do, Abernathyx?"},
    )
    assert [turn.content for turn in redacted(row).messages] == [
        "Hi, my name is [PERSON].", "Hello [PERSON]! What can I do, [PERSON]?",
    ]  # fmt: skip


def test_arguments_of_tool_calls_stay_json_and_numbers_stay_numbers():
    arguments = '{"customer": "Maria Lopez", "phone_number": "0490 75 40 81", "card": 4111111111111111, "count": 3}'
    call = {"id": "c1", "type": "function", "function": {"name": "find_customer", "arguments": arguments}}
    row = chat({"role": "user", "content": "go"}, {"role": "assistant", "tool_calls": (call,)})
    written = redacted(row).messages[1].tool_calls[0]
    assert written["function"]["name"] == "find_customer"
    assert written["function"]["arguments"] == (
        '{"customer": "[PERSON]", "phone_number": "[PHONE]", "card": 0, "count": 3}'
    )


def test_what_holds_nothing_keeps_its_bytes():
    call = {"id": "c1", "function": {"name": "f", "arguments": '{"a" :1.0,   "b":[ ]}'}}
    tools = ({"type": "function", "function": {"name": "f", "description": "adds", "parameters": {"x": 1.50}}},)
    row = chat({"role": "user", "content": "add"}, {"role": "assistant", "tool_calls": (call,)}, tools=tools)
    assert redacted(row) is row


def test_tools_and_answers_in_json_are_looked_through():
    tools = ({"function": {"name": "f", "description": "ask maria.lopez@corp.com"}},)
    row = chat({"role": "user", "content": "x"}, {"role": "assistant", "content": '{"to":"a@b.io","n":1}'}, tools=tools)
    written = redacted(row)
    assert written.tools[0]["function"]["description"] == "ask [EMAIL]"
    assert written.messages[1].content == '{"to":"[EMAIL]","n":1}'


def test_a_label_that_is_a_class_stays_and_one_that_is_an_address_does_not():
    row = LabelledRow(id="1", source="a:1", text="I flew to Paris with Maria Lopez", label="Paris")
    assert redacted(row).label == "Paris"
    assert "[PERSON]" in redacted(row).text
    extracted = LabelledRow(id="1", source="a:1", text="From: maria@corp.com", label="maria@corp.com")
    assert redacted(extracted).label == "[EMAIL]"
    several = LabelledRow(id="1", source="a:1", text="x", label='["a","b@c.io"]', answer="labels")
    assert json.loads(redacted(several).label) == ["[EMAIL]", "a"]


def test_both_answers_of_a_preference_are_looked_through():
    say = lambda text: (Message(role="assistant", content=text),)  # noqa: E731
    row = PreferenceRow(
        id="1", source="a:1", prompt=(Message(role="user", content="Who is it?"),), chosen=say("It is a@b.io"),
        rejected=say("Call +49 170 1234567"),
    )  # fmt: skip
    written = redacted(row)
    assert (written.chosen[0].content, written.rejected[0].content) == ("It is [EMAIL]", "Call [PHONE]")


def test_every_kind_of_row_is_looked_through_everywhere():
    """Planted in every field that holds text; a new kind of row must be added here and to `passages`."""
    turn = (Message(role="assistant", content="a@b.io", name="a@b.io"),)
    tool = ({"function": {"name": "f", "description": "a@b.io"}},)
    values = {
        "text": "a@b.io", "label": "a@b.io", "messages": turn, "prompt": turn, "chosen": turn, "rejected": turn,
        "completion": turn, "tools": tool, "good": True, "checker": {"answer": ["a@b.io"]},
    }  # fmt: skip
    for kind in get_args(Row):
        names = {field.name for field in fields(kind)}
        row = kind(id="1", source="a:1", **{name: value for name, value in values.items() if name in names})
        assert "a@b.io" not in str(redacted(row)), kind


def test_allowed_values_stay():
    row = TextRow(id="1", source="a:1", text="Write to help@corp.com, info@corp.com or a@b.io")
    assert redacted(row, allow={"help@corp.com"}).text == "Write to help@corp.com, [EMAIL] or [EMAIL]"
    assert redacted(row, allow={"@corp.com"}).text == "Write to help@corp.com, info@corp.com or [EMAIL]"


def test_input_and_answer_speak_of_the_same_made_up_person():
    made = Surrogates(b"k" * 32)
    row = chat(
        {"role": "user", "content": "Extract the name: Maria Lopez, maria.lopez@corp.com"},
        {"role": "assistant", "content": '{"name": "Maria Lopez", "email": "maria.lopez@corp.com"}'},
    )
    written = Finding.of(row, FIND).rewritten(made.of)
    answer = json.loads(written.messages[1].content)
    assert written.messages[0].content == f"Extract the name: {answer['name']}, {answer['email']}"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.sampled_from(["a@b.io", "+49 170 1234567"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), _JSON, max_size=4))
def test_any_arguments_stay_json_of_the_same_shape(value):
    call = {"function": {"name": "f", "arguments": json.dumps(value)}}
    row = chat({"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": (call,)})
    finding = Finding.of(row, FIND)
    after = json.loads(
        finding.rewritten(lambda text, entity: mask(entity)).messages[1].tool_calls[0]["function"]["arguments"]
    )
    assert after.keys() == value.keys()
    assert mapped(row, lambda passage: passage.text) is row
    assert len(passages(row)) == len(finding.spans)
