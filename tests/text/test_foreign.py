"""What other programs export is recognised by its own marks and becomes the rows that were meant."""

import json

import pytest

from metier.core.errors import DataError
from metier.core.types import Dropped, JudgedRow, PreferenceRow
from metier.text.formats import recognise, to_rows
from metier.text.formats.foreign.registry import FOREIGN

ASKED, ANSWERED = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
WEATHER = {"name": "weather", "description": "d", "input_schema": {"type": "object"}}


def read(record, expected, **settings):
    """Recognise one record as a file would be, and return its rows."""
    found = recognise([record] * 3, **settings)
    assert (found.format, found.confidence) == (expected, 1.0)
    return list(to_rows(record, found, source="t.jsonl:1"))


def said(turns):
    return [(turn.role, turn.content) for turn in turns]


def test_every_foreign_format_says_what_it_is():
    assert all(foreign.says and foreign.name == name for name, foreign in FOREIGN.items())


def test_anthropic_messages_with_tools():
    record = {
        "system": [{"type": "text", "text": "s"}],
        "tools": [WEATHER],
        "messages": [
            ASKED,
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "text", "text": "look"},
                {"type": "tool_use", "id": "1", "name": "weather", "input": {"at": "Rome"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "sunny"}]},
                {"type": "text", "text": "well?"},
            ]},
            {"role": "assistant", "content": "Sunny."},
        ],
    }  # fmt: skip
    (row,) = read(record, "anthropic")
    assert said(row.messages) == [
        ("system", "s"), ("user", "q"), ("assistant", "look"), ("tool", "sunny"), ("user", "well?"),
        ("assistant", "Sunny."),
    ]  # fmt: skip
    assert row.messages[2].tool_calls[0]["function"] == {"name": "weather", "arguments": '{"at": "Rome"}'}
    assert row.messages[3].tool_call_id == "1"
    assert row.tools[0]["function"] == {"name": "weather", "description": "d", "parameters": {"type": "object"}}


def test_anthropic_images_are_refused():
    turn = {"role": "user", "content": [{"type": "image", "source": {}}]}
    (row,) = read({"system": "s", "messages": [turn, ANSWERED]}, "anthropic")
    assert (row.reason, row.detail) == ("a turn has a part that is not text", "a block of type 'image'")


def test_bedrock_converse_with_tools():
    record = {
        "schemaVersion": "bedrock-conversation-2024",
        "system": [{"text": "s"}],
        "toolConfig": {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}]},
        "messages": [
            {"role": "user", "content": [{"text": "q"}, {"cachePoint": {"type": "default"}}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "1", "name": "weather", "input": {}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "1", "content": [{"json": {"sun": 1}}]}}]},
            {"role": "assistant", "content": [{"text": "a"}]},
        ],
    }
    (row,) = read(record, "bedrock")
    assert said(row.messages) == [
        ("system", "s"), ("user", "q"), ("assistant", ""), ("tool", '{"sun": 1}'), ("assistant", "a"),
    ]  # fmt: skip
    assert row.tools[0]["function"]["parameters"] == {"type": "object"}


@pytest.mark.parametrize(
    "record",
    [
        {"request": {"messages": [ASKED]}, "response": {"choices": [{"message": ANSWERED}]}},
        {"messages": [ASKED], "response": json.dumps({"choices": [{"message": ANSWERED}]})},
        {"request": {"body": {"messages": [ASKED]}}, "response": {"body": {"choices": [{"message": ANSWERED}]}}},
        {
            "params": {"messages": [ASKED]},
            "result": {
                "type": "succeeded",
                "message": {"role": "assistant", "content": [{"type": "text", "text": "a"}]},
            },
        },
        {
            "schemaType": "ModelInvocationLog",
            "input": {"inputBodyJson": {"messages": [{"role": "user", "content": [{"text": "q"}]}]}},
            "output": {"outputBodyJson": {"output": {"message": {"role": "assistant", "content": [{"text": "a"}]}}}},
        },
    ],
)
def test_requests_and_responses(record):
    (row,) = read(record, "exchange")
    assert said(row.messages) == [("user", "q"), ("assistant", "a")]


def of_parts(role, text):
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


def attribute(key, value):
    return {"key": key, "value": {"stringValue": value}}


@pytest.mark.parametrize(
    "span",
    [
        {"attributes": [
            attribute("gen_ai.input.messages", of_parts("user", "q")),
            attribute("gen_ai.output.messages", of_parts("assistant", "a")),
        ]},
        {"attributes": {"gen_ai.prompt.0.content": "q", "gen_ai.completion.0.content": "a"}},
        {"events": [
            {"name": "gen_ai.user.message", "attributes": [attribute("content", "q")]},
            {"name": "gen_ai.choice", "attributes": {"message": '{"content": "a"}'}},
        ]},
    ],
)  # fmt: skip
def test_opentelemetry_spans(span):
    span |= {"traceId": "t"}
    (row,) = read(span, "opentelemetry")
    assert said(row.messages) == [("user", "q"), ("assistant", "a")]
    assert row.group == "t"
    export = {"resourceSpans": [{"scopeSpans": [{"spans": [span, {"name": "other"}, span]}]}]}
    found = read(export, "opentelemetry")
    assert [row.source for row in found] == ["t.jsonl:1", "t.jsonl:1.2"]


def test_opentelemetry_without_content_says_what_to_do():
    (row,) = read({"attributes": {"gen_ai.system": "x", "gen_ai.usage.input_tokens": 3}}, "opentelemetry")
    assert row.reason == "a span without its messages"
    assert "capture of message content" in row.detail


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ([ASKED], ANSWERED),
        ({"messages": [ASKED]}, {"choices": [{"message": ANSWERED}]}),
        (json.dumps([ASKED]), json.dumps(ANSWERED)),
        ("q", "a"),
        ({"question": "q"}, {"content": "a"}),
    ],
)
def test_langfuse_observations(asked, answer):
    record = {"id": "1", "traceId": "t", "type": "GENERATION", "input": asked, "output": answer, "latency": 1}
    (row,) = read(record, "langfuse")
    assert said(row.messages) == [("user", "q"), ("assistant", "a")]
    assert row.group == "t"


def test_langfuse_expected_outputs_go_first_and_spans_are_no_rows():
    (row,) = read({"input": "q", "output": "b", "expectedOutput": "a"}, "langfuse")
    assert row.messages[-1].content == "a"
    (row,) = read({"traceId": "t", "type": "SPAN", "input": "q", "output": "b"}, "langfuse")
    assert row.reason == "not a generation"


def task(*results, **data):
    annotations = [{"result": [result], "was_cancelled": False} for result in results]
    return {"id": 1, "data": data or {"text": "t"}, "annotations": annotations}


def choice(*names):
    return {"type": "choices", "value": {"choices": list(names)}}


def test_label_studio():
    (row,) = read(task(choice("a")), "label-studio")
    assert (row.text, row.label) == ("t", "a")
    (row,) = read(task(choice("a", "b")), "label-studio")
    assert (row.label, row.answer) == ('["a","b"]', "labels")
    (row,) = read(task(choice("a"), choice("b"), choice("b")), "label-studio")
    assert row.label == "b"
    (row,) = read(task(choice("a"), choice("b")), "label-studio")
    assert row.reason == "the annotators disagree"
    (row,) = read(task({"type": "rating", "value": {"rating": 4}}), "label-studio")
    assert (row.label, row.answer) == ("4", "score")
    (row,) = read(task({"type": "textarea", "value": {"text": ["a"]}}), "label-studio")
    assert said(row.messages) == [("user", "t"), ("assistant", "a")]
    pair = task({"type": "pairwise", "value": {"selected": "right"}}, prompt="q", one="b", two="a")
    (row,) = read(pair, "label-studio")
    assert (row.chosen[0].content, row.rejected[0].content) == ("a", "b")
    (row,) = read(task({"type": "labels", "value": {"start": 0, "labels": ["PER"]}}), "label-studio")
    assert row.reason == "annotated spans or regions, not an answer"
    (row,) = read(task(), "label-studio")
    assert row.reason == "nobody has annotated this task"


@pytest.mark.parametrize(
    "given",
    [
        {"responses": {"label": [{"value": "x", "status": "submitted"}, {"value": "y", "status": "draft"}]}},
        {"responses": [{"values": {"label": {"value": "x"}}, "status": "submitted"}]},
        {"suggestions": {"label": {"value": "x", "score": 0.9}}},
        {"responses": [], "suggestions": [{"question_name": "label", "value": "x"}]},
    ],
)
def test_argilla_labels(given):
    (row,) = read({"fields": {"text": "t"}} | given, "argilla")
    assert (row.text, row.label) == ("t", "x")


def test_argilla_rankings_and_texts():
    places = [{"value": "one", "rank": 2}, {"value": "two", "rank": 1}]
    record = {"fields": {"prompt": "q", "one": "b", "two": "a"}, "responses": {"order": [{"value": places}]}}
    (row,) = read(record, "argilla")
    assert isinstance(row, PreferenceRow)
    assert (row.chosen[0].content, row.rejected[0].content) == ("a", "b")
    record = {"fields": {"prompt": "q"}, "responses": {"better": [{"value": "A long answer to it."}]}}
    (row,) = read(record, "argilla")
    assert row.messages[-1].content == "A long answer to it."


def test_tickets_with_comments():
    record = {
        "id": 7, "subject": "s", "description": "q", "requester_id": 1,
        "comments": [
            {"author_id": 1, "body": "q"}, {"author_id": 2, "html_body": "<p>a<br>b</p>"},
            {"author_id": 2, "body": "secret", "public": False}, {"author_id": 2, "body": "c"},
            {"author_id": 1, "body": "thanks"},
        ],
    }  # fmt: skip
    (row,) = read(record, "ticket")
    assert said(row.messages) == [("user", "q"), ("assistant", "a\nb\nc")]
    assert row.group == "1"
    record = {
        "source": {"body": "<p>q</p>", "author": {"type": "user"}},
        "conversation_parts": {
            "conversation_parts": [{"part_type": "comment", "body": "a", "author": {"type": "admin"}}]
        },
    }
    (row,) = read(record, "ticket")
    assert said(row.messages) == [("user", "q"), ("assistant", "a")]


def reply(text, *replies, role="assistant", **others):
    return {"text": text, "role": role, "replies": list(replies)} | others


TREE = {
    "message_tree_id": "t",
    "prompt": reply(
        "q",
        reply("good", reply("more?", reply("yes"), reply("sure"), role="prompter"), rank=0),
        reply("bad", reply("unanswered", role="prompter"), rank=1),
        reply("gone", rank=2, deleted=True),
        role="prompter",
    ),
}


def test_the_branches_of_a_tree_are_conversations_that_learn_each_answer_once():
    found = read(TREE, "tree")
    assert [[turn.content for turn in row.messages] for row in found] == [
        ["q", "good", "more?", "yes"], ["q", "good", "more?", "sure"], ["q", "bad"],
    ]  # fmt: skip
    assert [row.messages[1].weight for row in found] == [None, 0, None]
    assert {row.group for row in found} == {"t"}


def test_the_ranks_of_a_tree_are_preference_pairs():
    (row,) = read(TREE, "tree-pairs", wanted="tree-pairs")
    assert (row.chosen[0].content, row.rejected[0].content) == ("good", "bad")


def test_judged_rows():
    found = recognise(
        [{"prompt": "q", "completion": "a", "label": True}, {"prompt": "q", "completion": "b", "label": "false"}]
    )
    assert found.format == "judged"
    (row,) = to_rows({"prompt": "q", "completion": "b", "label": "false"}, found, source="t:1")
    assert isinstance(row, JudgedRow)
    assert row.good is False
    (row,) = to_rows({"prompt": "q", "completion": "b", "label": "maybe"}, found, source="t:1")
    assert isinstance(row, Dropped)


def test_tasks_for_reinforcement_are_recognised_and_say_what_to_write_instead():
    found = recognise([{"messages": [ASKED], "reference_answer": "4", "id": 1}])
    assert found.format == "task"
    assert "completion: reference_answer" in found.reason
    with pytest.raises(DataError, match="end with the user's turn; wanted: an answer"):
        recognise([{"messages": [ASKED]}])
    found = recognise([{"messages": [ASKED], "answer": "4"}], columns={"prompt": "messages", "completion": "answer"})
    (row,) = to_rows({"messages": [ASKED], "answer": "4"}, found, source="t:1")
    assert said(row.messages) == [("user", "q"), ("assistant", "4")]


def test_collections_of_questions():
    (one, two) = read({"instruction": "i", "instances": [{"input": "", "output": "a"}, {"input": "x", "output": "b"}]},
                      "instances")  # fmt: skip
    assert said(two.messages) == [("user", "i\n\nx"), ("assistant", "b")]
    assert one.group == two.group
    article = {"title": "t", "paragraphs": [{"context": "c", "qas": [
        {"question": "q", "answers": [{"text": "a"}, {"text": "b"}]}, {"question": "none", "answers": []},
    ]}]}  # fmt: skip
    (row,) = read(article, "squad")
    assert said(row.messages) == [("user", "q\n\nc"), ("assistant", "a")]
    query = {"sql": ['SELECT x WHERE y = "var1" AND z = var10'], "sentences": [
        {"text": "the var1 of var10?", "variables": {"var1": "A", "var10": "7"}}]}  # fmt: skip
    (row,) = read(query, "text-to-sql")
    assert said(row.messages) == [("user", "the A of 7?"), ("assistant", 'SELECT x WHERE y = "A" AND z = 7')]


def test_sentences_are_joined_and_of_several_answers_the_first_is_learnt():
    record = {"source": ["One.", "Two."], "target": ["a", "b"]}
    found = recognise([record])
    assert found.format == "completion"
    assert "of several answers the first is learnt (1 of 1 rows looked at)" in found.reason
    (row,) = to_rows(record, found, source="t:1")
    assert said(row.messages) == [("user", "One.\nTwo."), ("assistant", "a")]


def test_a_conversation_column_groups_rows():
    found = recognise([{"conversationId": "c", "utterance": "u", "intent": "i"}])
    assert (found.format, found.columns["group"]) == ("label", "conversationId")
