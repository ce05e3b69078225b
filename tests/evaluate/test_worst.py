from collections.abc import Callable

from metier.evaluate.questions import Question
from metier.evaluate.worst import worst
from tests.evaluate.conftest import side

Ask = Callable[..., tuple[Question, ...]]


def test_lost_rows_come_before_wrong_ones_and_wrong_ones_before_doubtful_ones(ask: Ask) -> None:
    questions = ask(["yes"] * 5)
    base = side("base", ["no", "no", "yes", "yes", "no"])
    tuned = side("tuned", ["yes", "no", "no", "yes", "no"], [1.0, 2.0, 1.0, 8.0, 6.0])
    rows = worst(questions, base, tuned, task="label", most=5)
    assert [entry["row"] for entry in rows] == [2, 4, 1, 3, 0]
    assert rows[0]["note"].startswith("base had this right")
    assert rows[3]["note"] == "right, but among the least sure; loss 1.00 to 4.00 nats per token"
    assert worst(questions, base, tuned, task="label", most=2) == rows[:2]


def test_wrong_fields_are_named(ask: Ask) -> None:
    questions = ask(['{"a": 1, "b": "x"}', '{"a": 1}', '{"a": 1}'])
    tuned = side("tuned", ['{"a": 2, "b": "x", "c": 0}', "so sorry", "[]"])
    notes = [entry["note"] for entry in worst(questions, side("base", [""] * 3), tuned, task="json", most=3)]
    assert any(note.startswith("a: 2 instead of 1; c: invented; loss") for note in notes)
    assert any(note.startswith("no JSON") for note in notes)
    assert any(note.startswith("a: nothing instead of 1") for note in notes)


def test_wrong_calls_are_named(ask: Ask) -> None:
    wanted = '{"name": "find", "arguments": {"a": 1, "b": "x"}}'
    said = [wanted.replace("1", "2").replace('"b"', '"c"'), wanted.replace("find", "tell"), "so sorry", wanted]
    found = worst(ask([wanted] * 4), side("base", [""] * 4), side("tuned", said), task="calls", most=4)
    notes = {entry["row"]: entry["note"].rsplit("; loss", 1)[0] for entry in found}
    assert notes[0] == 'find: a = 2 instead of 1; find: b = nothing instead of "x"; find: c = "x" instead of nothing'
    assert notes[1] == "calls tell instead of find"
    assert notes[2] == "calls nothing instead of find"
    assert notes[3].startswith("right")
    assert [entry["row"] for entry in found][-1] == 3


def test_many_wrong_fields_are_counted(ask: Ask) -> None:
    wanted = '{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1}'
    (entry,) = worst(ask([wanted]), side("base", [""]), side("tuned", ["{}"]), task="json", most=3)
    assert "and 2 more" in entry["note"]


def test_plain_text_is_ranked_by_surprise(ask: Ask) -> None:
    questions = ask([None, None])
    rows = worst(questions, side("base", [None] * 2), side("tuned", [None] * 2, [2.0, 6.0]), task="text", most=2)
    assert [entry["row"] for entry in rows] == [1, 0]
    assert rows[0]["note"] == "loss 1.00 to 3.00 nats per token"
