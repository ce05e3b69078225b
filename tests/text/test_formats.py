"""Formats are recognised by their columns and values, and every record becomes the row that was meant."""

import json

import pytest

from metier.core.errors import DataError
from metier.core.types import ChatRow, Dropped, LabelledRow, Message, PreferenceRow, TextRow
from metier.text.formats import FORMATS, Recognised, recognise, to_row

USER, ASSISTANT = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}


def read(record, **settings):
    """Recognise one record as a file would be, and turn it into a row."""
    return to_row(record, recognise([record], **settings), source="t.jsonl:1")


def said(row):
    return [(turn.role, turn.content) for turn in row.messages]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"messages": [USER, ASSISTANT]}, "chat"),
        ({"conversation": [USER, ASSISTANT]}, "chat"),
        ({"conversations": [USER, ASSISTANT]}, "chat"),
        ({"messages": json.dumps([USER, ASSISTANT])}, "chat"),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, "sharegpt"),
        ({"instruction": "i", "input": "", "output": "o"}, "alpaca"),
        ({"instruction": "i", "response": "o", "category": "c", "intent": "x"}, "alpaca"),
        ({"prompt": "p", "completion": "c"}, "completion"),
        ({"question": "p", "answer": "c"}, "completion"),
        ({"input": "p", "output": "c"}, "completion"),
        ({"prompt": [USER], "completion": [ASSISTANT]}, "completion"),
        ({"text": "t", "label": "l"}, "label"),
        ({"Text": "t", "Label": "l"}, "label"),
        ({"text": "t", "category": "l"}, "label"),
        ({"query": "t", "intent": "l"}, "label"),
        ({"sentence": "t", "label": 3}, "label"),
        ({"message": "t", "class": "l", "channel": "x"}, "label"),
        ({"text": "t"}, "text"),
        ({"content": "t", "url": "u"}, "text"),
        (
            {"input": {"messages": [USER]}, "preferred_output": [ASSISTANT], "non_preferred_output": [ASSISTANT]},
            "preference",
        ),
        ({"prompt": "p", "chosen": "c", "rejected": "r"}, "preference"),
        ({"instruction": "p", "input": "", "output": "c", "chosen": "c", "rejected": "r"}, "preference"),
    ],
)
def test_recognised(record, expected):
    found = recognise([record] * 3)
    assert (found.format, found.confidence) == (expected, 1.0)
    assert found.reason.startswith("columns ")
    assert expected in FORMATS


def test_an_input_may_be_a_list_of_texts():
    row = read({"instruction": "Sum up", "input": ["One.", "Two."], "output": "Both."})
    assert said(row) == [("user", "Sum up\n\nOne.\nTwo."), ("assistant", "Both.")]


def test_confidence_is_the_share_that_fits():
    assert recognise([{"text": "t", "label": "l"}] * 97 + [{"text": "t"}] * 3).confidence == 0.97


def test_rows_without_the_label_do_not_turn_the_file_into_plain_text():
    with pytest.raises(DataError, match="two formats mixed: 60% label, 40% text"):
        recognise([{"text": "t", "label": "l"}] * 6 + [{"text": "t"}] * 4)


def test_unused_columns_are_named():
    found = recognise([{"text": "t", "label": "l", "x" * 99: 1}])
    assert found.unused == ("x" * 99,)
    assert found.reason.endswith("…")


def test_columns_the_user_names_come_first():
    record = {"subject": "s", "body": "b", "queue": "q", "text": "t"}
    row = read(record, columns={"text": "body", "label": "queue", "group": "subject"})
    assert (row.text, row.label, row.group) == ("b", "q", "s")
    row = read({"a": "q", "b": "a"}, columns={"prompt": "a", "completion": "b"})
    assert said(row) == [("user", "q"), ("assistant", "a")]


def test_a_role_the_user_names_is_never_ignored():
    assert read({"text": "t", "summary": "s", "label": "l"}, columns={"label": "label"}).label == "l"
    assert recognise([{"text": "t", "summary": "s", "label": "l"}]).format == "completion"


def test_chat_with_everything():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":  1}'}}
    record = {
        "messages": [
            {"role": "developer", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "text", "text": "!"}], "name": "Ann"},
            {"role": "assistant", "content": None, "tool_calls": [call], "weight": 0},
            {"role": "tool", "content": "42", "tool_call_id": "c"},
            {"role": "assistant", "content": "a", "weight": 1},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "parallel_tool_calls": False,
        "slice": "web", "group": 7, "weight": "2.5",
    }  # fmt: skip
    row = read(record)
    assert isinstance(row, ChatRow)
    assert row.messages == (
        Message(role="system", content="s"),
        Message(role="user", content="q!", name="Ann"),
        Message(role="assistant", tool_calls=(call,), weight=0.0),
        Message(role="tool", content="42", tool_call_id="c"),
        Message(role="assistant", content="a", weight=1.0),
    )
    assert (row.tools, row.parallel_tool_calls) == (tuple(record["tools"]), False)
    assert (row.slice, row.group, row.weight, row.source) == ("web", "7", 2.5, "t.jsonl:1")


def test_sharegpt_with_system_and_tools():
    turns = [
        {"from": "human", "value": "q"},
        {"from": "gpt", "value": "a", "weight": 0},
        {"from": "observation", "value": "o"},
        {"from": "gpt", "value": "b"},
    ]
    row = read({"conversations": turns, "system": "s", "tools": '[{"name": "f"}]'})
    assert said(row) == [("system", "s"), ("user", "q"), ("assistant", "a"), ("tool", "o"), ("assistant", "b")]
    assert row.messages[2].weight == 0
    assert row.tools == ({"name": "f"},)


def test_alpaca_puts_the_input_below_the_instruction():
    assert said(read({"instruction": "i", "input": "x", "output": "o"})) == [("user", "i\n\nx"), ("assistant", "o")]
    assert said(read({"instruction": "i", "input": " ", "output": "o"})) == [("user", "i"), ("assistant", "o")]
    assert said(read({"instruction": "i", "output": "o", "system": "s"}))[0] == ("system", "s")


def test_completion_with_context_and_as_messages():
    row = read({"question": "q", "context": "c", "answer": "a"})
    assert said(row) == [("user", "q\n\nc"), ("assistant", "a")]
    row = read({"prompt": [USER], "completion": ASSISTANT})
    assert said(row) == [("user", "q"), ("assistant", "a")]
    row = read({"prompt": [USER], "completion": [ASSISTANT], "context": "c"})
    assert isinstance(row, Dropped)


def test_an_object_as_the_answer_is_learnt_as_its_json():
    row = read({"input": "q", "output": {"b": 1, "a": "ä"}})
    assert row.messages[1].content == '{"b": 1, "a": "ä"}'


def test_openai_preference():
    record = {
        "input": {"messages": [USER], "tools": [{"name": "f"}]},
        "preferred_output": [ASSISTANT],
        "non_preferred_output": [{"role": "assistant", "content": "worse"}],
    }
    row = read(record)
    assert isinstance(row, PreferenceRow)
    assert (row.prompt[0].content, row.chosen[0].content, row.rejected[0].content) == ("q", "a", "worse")
    assert row.tools == ({"name": "f"},)


def test_preference_out_of_two_transcripts_and_two_conversations():
    start = "\n\nHuman: q\n\nAssistant: a\n\nHuman: r\n\nAssistant: "
    row = read({"chosen": start + "good\n\nwith a gap", "rejected": start + "bad"})
    assert isinstance(row, PreferenceRow)
    assert [turn.content for turn in row.prompt] == ["q", "a", "r"]
    assert (row.chosen[0].content, row.rejected[0].content) == ("good\n\nwith a gap", "bad")
    row = read({"chosen": [USER, ASSISTANT], "rejected": [USER, {"role": "assistant", "content": "b"}]})
    assert isinstance(row, PreferenceRow)
    assert (len(row.prompt), row.rejected[0].content) == (1, "b")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"prompt": "p", "chosen": "c", "rejected": "c"}, "chosen and rejected are the same"),
        (
            {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: r\n\nAssistant: a"},
            "chosen and rejected do not answer the same prompt",
        ),
        ({"chosen": "just text", "rejected": "text"}, "'chosen' is not a transcript"),
        ({"chosen": [USER, ASSISTANT], "rejected": [USER, ASSISTANT]}, "chosen and rejected are the same"),
        ({"chosen": [USER, ASSISTANT], "rejected": [USER]}, "chosen and rejected do not answer the same prompt"),
    ],
)
def test_preferences_that_prefer_nothing(record, reason):
    row = read(record)
    assert isinstance(row, Dropped)
    assert row.reason == reason


def test_labels_and_texts():
    row = read({"text": " kept as it is ", "label": " l "})
    assert row == LabelledRow(id=row.id, source="t.jsonl:1", text=" kept as it is ", label="l")
    row = read({"text": "t"})
    assert row == TextRow(id=row.id, source="t.jsonl:1", text="t")


def test_a_drop_keeps_the_label_for_the_counts():
    row = read({"text": "", "label": "l"})
    assert isinstance(row, Dropped)
    assert (row.label, row.reason) == ("l", "'text' is empty")


def test_the_id_is_a_hash_of_what_is_learnt_and_of_nothing_else():
    row = read({"text": "t", "label": "l"})
    assert len(row.id) == 24
    assert read({"body": "t", "queue": "l", "more": 1}, columns={"text": "body", "label": "queue"}).id == row.id
    assert read({"text": "t", "label": "l", "group": "g", "slice": "s", "weight": 2}).id == row.id
    others = [
        {"text": "t", "label": "m"},
        {"text": "t"},
        {"prompt": "t", "completion": "l"},
        {"messages": [USER, ASSISTANT]},
        {"messages": [USER, {**ASSISTANT, "weight": 1}]},
        {"messages": [USER, ASSISTANT], "tools": [{"a": 1, "b": 2}]},
        {"messages": [USER, ASSISTANT], "tools": [{"b": 2, "a": 1}]},
        {"messages": [USER, ASSISTANT], "parallel_tool_calls": True},
        {"prompt": "t", "chosen": "l", "rejected": "m"},
        {"prompt": "t", "chosen": "m", "rejected": "l"},
    ]
    ids = {read(record).id for record in others}
    assert len(ids | {row.id}) == len(others) + 1


def test_one_id_for_one_row_for_ever():
    assert read({"text": "t", "label": "l"}).id == "ae4ec4c5fad503bd643f407e"
    assert read({"messages": [USER, ASSISTANT]}).id == "1d89c14b4d9ab4abd6665774"


def test_an_id_that_was_given_before_is_kept():
    found = Recognised(format="text", columns={"text": "text"})
    assert to_row({"text": "t"}, found, source="s", row_id="mine").id == "mine"


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "half \ud800"}]},
        {"messages": [USER, ASSISTANT], "tools": [{"x": float("nan")}]},
        {"text": "t", "label": "l", "slice": "\udfff"},
    ],
)
def test_what_json_and_unicode_cannot_hold(record):
    assert isinstance(read(record), Dropped)


def test_records_are_not_changed():
    record = {"messages": [USER, {**ASSISTANT, "tool_calls": [{"id": "1"}]}], "tools": [{"a": 1}]}
    before = json.dumps(record)
    read(record)
    assert json.dumps(record) == before
