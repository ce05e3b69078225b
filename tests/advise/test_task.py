import numpy as np
import pytest

from metier.advise import task
from metier.advise.task import HIDDEN
from metier.core.errors import DataError
from metier.core.types import ChatRow, LabelledRow, Message, TextRow


def labelled(number: int, text: str, label: str) -> LabelledRow:
    return LabelledRow(id=f"r{number}", source=f"a.jsonl:{number}", text=text, label=label)


def test_a_row_is_taken_apart_into_a_question_without_its_answer():
    turns = [("system", "Route it."), ("user", "where is it"), ("assistant", "order"), ("user", "thanks")]
    messages = tuple(Message(role=role, content=text) for role, text in turns)
    row = ChatRow(id="a", source="a.jsonl:1", messages=messages, group="g")
    known = task.taken_apart([row, labelled(2, "hi", "greeting"), TextRow(id="t", source="t:1", text="prose")])
    assert known.answers == ("order", "greeting")
    assert known.texts == ["where is it", "hi"]
    assert known.questions[0].group == "g"
    assert all(message.role != "assistant" for question in known.questions for message in question.messages)
    assert HIDDEN not in known.answers


def test_rows_without_an_answer_cannot_be_advised_on():
    with pytest.raises(DataError, match="none with a question and an answer"):
        task.taken_apart([TextRow(id="t", source="t:1", text="prose")])


def test_scores_and_form():
    assert task.scores("label", ["a ", "b"], ["a", "a"]).tolist() == [1, 0]
    assert np.allclose(task.scores("json", ['{"a": 1, "b": 2}', "no"], ['{"b": 2, "a": 3}', '{"a": 1}']), [0.5, 0])
    call = '{"name": "f", "arguments": {"a": 1, "b": 2}}'
    told = task.scores("calls", [f"<call>{call}</call>", call.replace("1", "3"), "no", "no"], [call] * 3 + ["Why?"])
    assert np.allclose(told, [1, 2 / 3, 0, 1])
    assert task.in_form("calls", [call, "{}"], []) == 0.5
    assert task.scores("text", ["the cat"], ["a cat"]).tolist() == [0.5]
    assert task.in_form("label", ["a", "c"], ["a", "b"]) == 0.5
    assert task.in_form("json", ["{}", "x"], []) == 0.5
    assert task.in_form("text", ["x", " "], []) == 0.5


def test_rows_are_chosen_by_their_ids_alone():
    rows = [labelled(n, str(n), "x") for n in range(50)]
    few = task.chosen(rows, 10)
    assert len(few) == 10
    assert task.chosen(rows[::-1], 10)[::-1] == few
