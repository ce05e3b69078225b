from collections.abc import Callable
from dataclasses import replace

import pytest

from metier.core.errors import SettingsError
from metier.evaluate.questions import Question
from metier.evaluate.settings import EvaluateSettings
from metier.evaluate.task import deciding_metric, recognise

Ask = Callable[..., tuple[Question, ...]]
AUTO = EvaluateSettings()


@pytest.mark.parametrize(
    ("references", "facts", "task", "metric"),
    [
        ([f"label {n}" for n in range(9)], {"labelled": [True] * 9}, "label", "accuracy"),
        (["yes", "no"] * 9, {}, "label", "accuracy"),
        (['{"a": 1}'] * 6 + ["no order here"] * 4, {}, "json", "exact_match"),
        (['{"a": 1, "b": true}'] * 10, {}, "json", "field_f1"),
        (['{"name": "find", "arguments": {"a": 1}}'] * 9 + ["Which one?"], {}, "calls", "calls_right"),
        ([f"answer {n}" for n in range(9)], {}, "text", "exact_match"),
        (["one of the many ways to say this " + "very " * n + "well" for n in range(9)], {}, "text", "loss"),
        (["a" * 65, "b"] * 9, {}, "text", "exact_match"),
        ([None] * 3, {}, "text", "loss"),
    ],
)
def test_recognised(ask: Ask, references: list[str | None], facts: dict, task: str, metric: str) -> None:
    questions = ask(references, **facts)
    choice = recognise(questions, AUTO)
    assert choice.value == task
    assert choice.reason
    assert deciding_metric(questions, choice.value, AUTO).value == metric


def test_tasks_are_decided_by_their_grader(ask: Ask) -> None:
    questions = tuple(replace(question, item={"column": 1}) for question in ask([None] * 3))
    assert "tasks for a grader" in recognise(questions, AUTO).reason
    with pytest.raises(SettingsError, match=r"evaluate\.graders: none, and the rows are tasks"):
        deciding_metric(questions, "text", AUTO)
    settings = EvaluateSettings.model_validate({"graders": [{"type": "string_check", "name": "right"}]})
    assert deciding_metric(questions, "text", settings).value == "right"
    assert deciding_metric(questions, "text", settings, ["graded/mean/right"]).value == "graded/mean/right"


def test_settings_win(ask: Ask) -> None:
    questions = ask(["yes", "no"] * 9)
    assert recognise(questions, EvaluateSettings(task="text")).value == "text"
    assert deciding_metric(questions, "label", EvaluateSettings(metric="macro_f1")).value == "macro_f1"


def test_a_metric_that_is_not_measured_is_refused(ask: Ask) -> None:
    with pytest.raises(SettingsError, match=r"evaluate\.metric: 'accuracy' is not measured on text rows"):
        deciding_metric(ask(["some"]), "text", EvaluateSettings(metric="accuracy"))
    with pytest.raises(SettingsError, match="wanted: one of loss"):
        deciding_metric(ask([None]), "text", EvaluateSettings(metric="word_f1"))
