"""Every fault of a made row, planted, with the words it is dropped with; and real rows pass."""

import json

import pytest

from metier.core.types import ChatRow, LabelledRow, Message
from metier.prepare.synthesise.quality import Seen, fault, measure
from metier.prepare.synthesise.task import task_of
from tests.prepare.synthesise.kitchen import chats, extracts, labelled


def chat(asked, answer):
    turns = (Message(role="user", content=asked), Message(role="assistant", content=answer))
    return ChatRow(id="1", source="a:1", messages=turns)


def label(text, name):
    return LabelledRow(id="1", source="a:1", text=text, label=name)


REAL = [chat(record["prompt"], record["completion"]) for record in chats()]
LABELLED = [label(record["text"], record["label"]) for record in labelled()]
JSON = [chat(record["prompt"], record["completion"]) for record in extracts()]


def told(row, real):
    return fault(row, measure([task for one in real if (task := task_of(one)) is not None]))


@pytest.mark.parametrize("real", [REAL, LABELLED, JSON])
def test_real_rows_pass(real):
    assert {told(row, real) for row in real} == {""}


@pytest.mark.parametrize(
    ("row", "real", "reason"),
    [
        (chat("What do I do with the kettle?", "As an AI language model I have no kettle."), REAL, "a refusal"),
        (chat("What do I do with the kettle?", "I'm sorry, but I can't help with that one."), REAL, "a refusal"),
        (chat("What do I do with the kettle?", "and so on it goes " * 12), REAL, "it repeats itself"),
        (chat("What do I do with the kettle?", "   "), REAL, "empty"),
        (chat("Kettle?", "Send the kettle back within 3 days, please."), REAL, "much longer or shorter than real"),
        (chat("What do I do with the kettle?", "No"), REAL, "its answer is much longer or shorter"),
        (chat("What do I do with the kettle?", " ".join(map(str, range(99)))), REAL, "its answer is much longer"),
        (label("Where is the thing that I asked for so long ago?", "praise"), LABELLED, "a label that no real row has"),
        (chat("Read this: kettle 5, in the year 2001.", "The kettle is from 2001."), JSON, "its answer is not of"),
        (chat("Read this: kettle 5, in the year 2001.", '{"thing": "a", "year": "1"}'), JSON, "its answer is not of"),
        (chat("Read this: kettle 5, in the year 2001.", '{"thing": "a kettle"}'), JSON, "its answer is not of"),
    ],
)  # fmt: skip
def test_a_fault_is_named(row, real, reason):
    assert told(row, real).startswith(reason)


def test_a_good_json_answer_passes():
    assert told(chat("Read this: kettle 5, in the year 2001.", '{"thing": "kettle", "year": 2001}'), JSON) == ""


def test_what_is_like_a_real_row_is_found_with_its_source():
    seen = Seen(0.7)
    seen.fill([label(f"row {record['text']}", record["label"]) for record in labelled()])
    same = labelled()[3]["text"]
    assert seen.like(label(f"Row, {same.upper()}!!", "x")) == "a:1"
    assert seen.like(label(f"row {same} ok", "x")) == "a:1"
    assert seen.like(label("something that has nothing to do with it at all", "x")) is None
    strict = Seen(1.0)
    strict.fill([label(same, "x")])
    assert strict.like(label(f"{same} ok", "x")) is None


def test_copies_of_real_rows_of_any_split_are_dropped(pantry):
    records = labelled()
    texts = [record["text"] for record in records]
    pantry.endpoint.say = lambda body: json.dumps({"input": texts[body["seed"] % len(texts)]})
    result = pantry.make(records, rows=30)
    assert result.kept == []
    assert result.reasons == {"too much like a row that is there": 30}


def test_two_new_rows_that_are_alike_are_one(pantry):
    pantry.endpoint.say = lambda body: json.dumps({"input": "My garden gate has been stolen by a fox, what now?"})
    assert len(pantry.make(rows=6).kept) == 1


def test_a_reply_that_is_no_json_is_asked_once_more_and_then_dropped(pantry):
    pantry.endpoint.say = lambda body: "I think that is a lovely question."
    result = pantry.make(rows=3)
    assert result.reasons == {"answer is not the JSON asked for": 3}
    assert len(pantry.endpoint.asked) == 6
    assert sum("Reply with that object alone" in prompt for prompt in pantry.endpoint.prompts) == 3
