"""Every grader on real texts, the faults that they must survive, and OpenAI's own way of writing them."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from metier.core.errors import SettingsError
from metier.core.progress import Silent
from metier.evaluate.graded import told
from metier.evaluate.graders.grade import Grading, Where, grade
from metier.evaluate.questions import Question
from metier.evaluate.settings import EvaluateSettings
from metier.evaluate.summary import summarise
from metier.score.graders.formula import compiled
from metier.score.graders.places import Shown, fill, shown
from metier.score.graders.settings import Grader, JudgeSettings
from metier.score.metrics import metric_of
from tests.evaluate.conftest import side

Ask = Callable[..., tuple[Question, ...]]


def at(folder: Path) -> Where:
    """Graders in this folder, where nobody draws more answers."""
    return Where(folder=folder, draw=lambda grader: ([], []))


def graded(
    ask: Ask, folder: Path, grader: dict[str, Any], wanted: Sequence[str], base: Sequence[str], tuned: Sequence[str]
) -> Grading:
    read = TypeAdapter(Grader).validate_python(grader)
    return grade(
        ask(wanted), (base, tuned), [read], judge_settings=JudgeSettings(), where=at(folder), progress=Silent()
    )


def values(found: Grading) -> dict[str, tuple[float, float]]:
    """The value of every metric for both models, by title."""
    return {
        metric_of(name).title: tuple(float(metric_of(name).statistic(side.sum(axis=0))) for side in pair)
        for name, pair in found.tables.items()
    }


@pytest.mark.parametrize(
    ("operation", "base", "tuned"), [("eq", 0.5, 0.5), ("ne", 0.5, 0.5), ("like", 0.5, 1.0), ("ilike", 1.0, 1.0)]
)
def test_string_check(ask: Ask, tmp_path: Path, operation: str, base: float, tuned: float) -> None:
    grader = {
        "type": "string_check", "name": "same", "operation": operation,
        "input": "{{ sample.output_text }}", "reference": "{{ item.reference_answer }}",
    }  # fmt: skip
    found = graded(ask, tmp_path, grader, ["Paris", "Rome"], ["PARIS", "Rome"], ["in Paris", "Rome"])
    assert values(found) == {"same": (base, tuned)}


@pytest.mark.parametrize(
    ("evaluation_metric", "title"),
    [("bleu", "BLEU"), ("chrf", "chrF"), ("rouge_l", "ROUGE-L"), ("fuzzy_match", "likeness")],
)
def test_text_similarity(ask: Ask, tmp_path: Path, evaluation_metric: str, title: str) -> None:
    wanted = ["the cat sat on the red mat", "a dog ran in the green park"]
    grader = {"type": "text_similarity", "evaluation_metric": evaluation_metric}
    found = values(graded(ask, tmp_path, grader, wanted, ["nothing at all like it", "no"], wanted))
    assert list(found) == [title]
    assert found[title][1] == pytest.approx(1)
    assert found[title][0] < 0.5
    found = graded(ask, tmp_path, grader | {"pass_threshold": 0.9}, wanted, [wanted[0], "no"], wanted)
    assert values(found)[title] == (0.5, 1.0)


def test_python_as_openai_writes_it_and_rows_that_crash_it(ask: Ask, tmp_path: Path) -> None:
    source = "def grade(sample, item):\n    return 1.0 / len(sample['output_text']) if item['reference'] else 0.0"
    grader = {"type": "python", "source": source, "image_tag": "2025-05-08"}
    found = graded(ask, tmp_path, grader, ["a", "b", "c"], ["x", "xx", ""], ["xx", "xx", "x"])
    assert values(found) == {"python": (0.75, 0.5)}
    assert found.faults == (
        {"grader": "python", "source": "rows.jsonl:3", "why": "ZeroDivisionError: float division by zero"},
    )
    strict = values(graded(ask, tmp_path, grader | {"pass_threshold": 0.6}, ["a", "b"], ["x", "xx"], ["xx", "xx"]))
    assert strict == {"python": (0.5, 0.0)}


def test_a_metric_that_crashes_on_one_row_leaves_it_out_of_both_models_and_says_so(ask: Ask, tmp_path: Path) -> None:
    """A planted fault: the tuned model's answer to row 7 breaks the checker."""
    (tmp_path / "check.py").write_text(
        "def score(output, reference, prompt):\n    return {'good': True, 'bad': False}[output]\n", encoding="utf-8"
    )
    base, tuned = ["bad"] * 40, ["good"] * 40
    tuned[6] = "other"
    questions = ask(["good"] * 40)
    read = TypeAdapter(Grader).validate_python({"type": "checker", "path": "check.py", "name": "mine"})
    found = grade(
        questions, (base, tuned), [read], judge_settings=JudgeSettings(), where=at(tmp_path), progress=Silent()
    )
    (pair,) = found.tables.values()
    assert [table[:, 1].sum() for table in pair] == [39, 39]
    assert found.faults == ({"grader": "mine", "source": "rows.jsonl:7", "why": "KeyError: 'other'"},)
    facts = told(found)
    assert facts is not None
    assert facts["faults"] == 1


def test_a_checker_that_is_not_there(ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no file"):
        graded(ask, tmp_path, {"type": "checker", "path": "none.py"}, ["a"], ["a"], ["a"])
    (tmp_path / "check.py").write_text("x = 1", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"no function score in check\.py"):
        graded(ask, tmp_path, {"type": "checker", "path": "check.py"}, ["a"], ["a"], ["a"])
    with pytest.raises(SettingsError, match="no function other"):
        graded(ask, tmp_path, {"type": "checker", "path": "check.py", "function": "other"}, ["a"], ["a"], ["a"])


def test_multi(ask: Ask, tmp_path: Path) -> None:
    parts = {
        "right": {"type": "string_check", "operation": "eq"},
        "like": {"type": "text_similarity", "evaluation_metric": "fuzzy_match"},
    }
    grader = {"type": "multi", "name": "both", "graders": parts, "calculate_output": "0.5 * right + 0.5 * like"}
    found = values(graded(ask, tmp_path, grader, ["abcd"], ["abcd"], ["bcde"]))
    assert found == {"both": (1.0, pytest.approx(0.375))}
    broken = graded(ask, tmp_path, grader | {"calculate_output": "right / (like - like)"}, ["a"], ["a"], ["a"])
    assert "ZeroDivisionError" in broken.faults[0]["why"]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')", "right.real", "right if 1 else 0", "other + 1", "max()", "(", "'a' * 9",
        "-" * 500 + "right", "+".join(["right"] * 300), "-" * 30_000 + "right", "(" * 1500,
        "sqrt(right, right)", "[" + "-" * 1500 + "right]",
    ],
)  # fmt: skip
def test_a_formula_is_arithmetic_and_nothing_else(text: str) -> None:
    with pytest.raises(SettingsError, match="calculate_output"):
        compiled(text, {"right": 1})


def test_a_place_that_never_ends_is_text_and_takes_no_time() -> None:
    started = process_time()
    template = "{{" + " " * 20_000
    assert fill(template, shown("q", "r", "o", beside={})) == template
    assert process_time() - started < 1
    assert fill("{{  item.prompt\t}}", shown("q", "r", "o", beside={})) == "q"


def test_formulas() -> None:
    values = {"a": 4.0, "b": 0.5}
    assert compiled("max(a) + min(a, b)", values)(values) == 4.5
    assert compiled("max(a, b) - sqrt(a) * b ** 2 / -1", values)(values) == pytest.approx(4.5)


def test_schema_fields_spans_and_style(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps({"type": "object", "required": ["n"]}), encoding="utf-8")
    wanted = ['{"n": 100}', '{"n": 50}']
    base, tuned = ['{"m": 1}', "no"], ['{"n": 100.5}', '{"n": 50}']
    found = values(graded(ask, tmp_path, {"type": "schema", "path": "s.json"}, wanted, base, tuned))
    assert found == {"schema": (0.0, 1.0)}
    found = values(graded(ask, tmp_path, {"type": "fields", "tolerance": 0.01}, wanted, base, tuned))
    assert found["fields F1"] == (0.0, 1.0)
    assert found["fields precision"] == (0.0, 1.0)
    found = values(graded(ask, tmp_path, {"type": "fields"}, wanted, base, tuned))
    assert found["fields recall"] == (0.0, 0.5)
    found = values(graded(ask, tmp_path, {"type": "spans"}, ['["Ada Byron"]'], ['["Byron"]'], ['["Ada Byron"]']))
    assert (found["spans F1"], found["spans, by word"]) == ((0.0, 1.0), (pytest.approx(2 / 3), 1.0))
    rules = {
        "type": "style",
        "least_words": 2,
        "most_words": 4,
        "most_grade": 20,
        "forbidden": ["sorry"],
        "patterns": ["^[A-Z]"],
    }
    found = values(graded(ask, tmp_path, rules, ["", ""], ["sorry, no", "Fine indeed"], ["Fine indeed", "no"]))
    assert found == {"style": (0.5, 0.5)}
    with pytest.raises(SettingsError, match="pattern"):
        graded(ask, tmp_path, {"type": "style", "patterns": ["("]}, [""], [""], [""])


def test_calls(ask: Ask, tmp_path: Path) -> None:
    one, two = '{"name":"f","arguments":{"x":1}}', '{"name":"g","arguments":{}}'
    found = values(graded(ask, tmp_path, {"type": "calls"}, [f"{one}\n{two}"], [f"{two}\n{one}"], [f"{one}\n{two}"]))
    assert found == {"calls": (0, 1), "calls, names": (1, 1), "calls, arguments": (1, 1), "calls, order": (0, 1)}
    loose = values(
        graded(ask, tmp_path, {"type": "calls", "ordered": False}, [f"{one}\n{two}"], [f"{two}\n{one}"], [one])
    )
    assert loose["calls"] == (1, 0)


def test_code_runs_only_when_allowed(ask: Ask, tmp_path: Path) -> None:
    wanted = ["assert f(2) == 4"]
    base, tuned = ["def f(x): return x"], ["```python\ndef f(x):\n    return 2 * x\n```"]
    with pytest.raises(SettingsError, match="allow: true"):
        graded(ask, tmp_path, {"type": "code"}, wanted, base, tuned)
    rules = {"type": "code", "allow": True, "seconds": 3, "memory_mb": 256}
    assert values(graded(ask, tmp_path, rules, wanted, base, tuned)) == {"code": (0, 1)}
    (tmp_path / "t.py").write_text("assert f(3) == 3", encoding="utf-8")
    assert values(graded(ask, tmp_path, rules | {"tests": "t.py"}, wanted, base, tuned)) == {"code": (1, 0)}
    body = ["\n    return 1"]
    questions = (Question(row_id="a", source="r:1", prompt="def f(x):", reference="assert f(0) == 1"),)
    read = TypeAdapter(Grader).validate_python(rules | {"continues": True})
    found = grade(
        questions, (body, body), [read], judge_settings=JudgeSettings(), where=at(tmp_path), progress=Silent()
    )
    assert values(found) == {"code": (1, 1)}


def test_places() -> None:
    def said(output: str) -> Shown:
        return shown("ask", "right", output, beside={"answer": "own"})

    row = said('{"a": {"b": [1, 2]}}')
    assert (
        fill("{{item.prompt}} {{ sample.output_json.a.b[1] }} {{ item.answer }} {{ item.reference }}", row)
        == "ask 2 own right"
    )
    assert fill("{{ sample.output_json.a }}", said("no JSON")) == ""
    assert json.loads(fill("{{ sample.output_tools }}", said('{"name":"f","arguments":{}}')))[0]["type"]
    with pytest.raises(SettingsError, match=r"no place 'item\.nothing'"):
        fill("{{ item.nothing }}", row)


def test_two_graders_need_two_names(ask: Ask, tmp_path: Path) -> None:
    read = [TypeAdapter(Grader).validate_python({"type": "string_check"})] * 2
    with pytest.raises(SettingsError, match="two are called 'string_check'"):
        grade(ask(["a"]), (["a"], ["a"]), read, judge_settings=JudgeSettings(), where=at(tmp_path), progress=Silent())


def test_a_grader_can_decide(ask: Ask) -> None:
    questions = ask(["word for word the same answer here"] * 60)
    settings = EvaluateSettings.model_validate(
        {"resampling": {"samples": 200}, "metric": "style", "graders": [{"type": "style", "most_words": 3}]}
    )
    flags = [np.stack([np.full(60, value), np.ones(60)], axis=1) for value in (0.0, 1.0)]
    sides = [side(name, ["x"] * 60) for name in ("base", "tuned")]
    sides = [dataclasses.replace(s, graded={"graded/mean/style": t}) for s, t in zip(sides, flags, strict=True)]
    facts = summarise(questions, *sides, settings)
    assert (facts["verdict"]["name"], facts["verdict"]["verdict"]) == ("graded/mean/style", "better")
    with pytest.raises(SettingsError, match="'nothing' is not measured"):
        summarise(questions, *sides, settings.model_copy(update={"metric": "nothing"}))


def test_the_settings_import_no_torch() -> None:
    program = "import sys, metier.evaluate.graders.grade; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
