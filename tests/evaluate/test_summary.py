import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metier.evaluate.metrics import columns, scored
from metier.evaluate.questions import Question
from metier.evaluate.settings import EvaluateSettings, ResamplingSettings
from metier.evaluate.summary import summarise
from metier.evaluate.task import METRICS_OF
from metier.score import calibration
from metier.score.metrics import METRICS
from tests.evaluate.conftest import side

Ask = Callable[..., tuple[Question, ...]]
QUICK = EvaluateSettings(resampling=ResamplingSettings(samples=300))


def named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def answer(intent: str, urgent: bool = False, **more: Any) -> str:
    return json.dumps({"intent": intent, "urgent": urgent} | more)


def test_labels(ask: Ask) -> None:
    wanted = ["a", "b", "c", "a"] * 10
    base = ["a"] * 40
    tuned = ["a", "b", "d", "rubbish"] * 10
    facts = summarise(ask(wanted, labelled=[True] * 40), side("base", base), side("tuned", tuned), QUICK)
    assert [metric["name"] for metric in facts["metrics"]] == [
        "accuracy", "macro_f1", "label_known", "ended", "loss", "perplexity",
    ]  # fmt: skip
    assert named(facts["metrics"], "accuracy")["tuned"]["value"] == 0.5
    assert named(facts["metrics"], "label_known")["tuned"]["value"] == 0.5
    assert named(facts["metrics"], "macro_f1")["tuned"]["value"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert named(facts["metrics"], "perplexity")["base"]["value"] == pytest.approx(np.e)
    label = next(entry for entry in facts["labels"] if entry["label"] == "a")
    assert (label["rows"], label["tuned"]["recall"]["value"], label["tuned"]["precision"]) == (20, 0.5, 1.0)
    assert facts["confusions"] == [
        {"wanted": "a", "said": "rubbish", "rows": 10, "base_rows": 0},
        {"wanted": "c", "said": "d", "rows": 10, "base_rows": 0},
    ]


def test_calls_are_read_as_any_template_writes_them(ask: Ask) -> None:
    find, tell = (json.dumps({"name": name, "arguments": {"a": 1, "b": "x"}}) for name in ("find", "tell"))
    wanted = [find, f"{find}\n{tell}", "Which one?", tell] * 10
    said = [f"<tool_call>\n{find}\n</tool_call>", f"[{tell}, {find}]", "None.", tell.replace("1", "2")] * 10
    facts = summarise(ask(wanted), side("base", ["{}"] * 40), side("tuned", said), QUICK)
    assert facts["task"] == {"value": "calls", "reason": "30 of 40 right answers call functions"}
    assert [metric["name"] for metric in facts["metrics"]][:4] == list(METRICS_OF["calls"])
    assert facts["verdict"]["name"] == "calls_right"
    assert facts["verdict"]["tuned"]["value"] == 0.5  # the order of two is wrong, and one argument
    assert facts["verdict"]["base"]["value"] == 0.25  # nothing is called where nothing should be
    assert named(facts["metrics"], "call_order")["tuned"]["value"] == 0.75
    assert named(facts["metrics"], "function_f1")["tuned"]["value"] == 1
    assert named(facts["metrics"], "argument_f1")["tuned"]["value"] == pytest.approx(7 / 8)


def test_json_fields(ask: Ask) -> None:
    wanted = [answer("refund"), answer("delay", True), "just words", answer("delay", note=f"free {0}")] * 10
    tuned = [answer("refund"), answer("delay"), "just words", answer("delay", note="other")] * 10
    facts = summarise(ask(wanted), side("base", ["?"] * 40), side("tuned", tuned), QUICK)
    assert facts["task"]["value"] == "json"
    assert named(facts["metrics"], "exact_match")["tuned"]["value"] == 0.5
    assert named(facts["metrics"], "json_valid")["rows"] == 30
    assert named(facts["metrics"], "field_accuracy")["tuned"]["value"] == pytest.approx(5 / 7)
    assert named(facts["metrics"], "field_f1")["tuned"]["value"] == pytest.approx(5 / 7)
    fields = {entry["field"]: entry for entry in facts["fields"]}
    assert {name: entry["rows"] for name, entry in fields.items()} == {"intent": 30, "urgent": 30, "note": 10}
    assert fields["urgent"]["tuned"]["value"] == pytest.approx(2 / 3)
    assert fields["urgent"]["tuned_macro_f1"] == pytest.approx((0.8 + 0) / 2)
    assert fields["intent"]["values"] == 2
    assert fields["intent"]["commonest"] == {"value": '"delay"', "share": pytest.approx(2 / 3)}
    assert facts["commonest"]["share"] == 0.25


def test_free_text_fields_have_no_macro_f1(ask: Ask) -> None:
    wanted = [answer("a", note=f"note {n}") for n in range(20)]
    facts = summarise(ask(wanted), side("base", wanted), side("tuned", wanted), QUICK)
    note = next(entry for entry in facts["fields"] if entry["field"] == "note")
    assert (note["values"], note["tuned_macro_f1"]) == (20, None)


def test_a_drop_in_one_slice_is_not_hidden_by_the_mean(ask: Ask) -> None:
    wanted = ["yes"] * 500
    slices = ["rare" if n < 100 else "usual" for n in range(500)]
    base = ["no" if n % 10 == 0 else "yes" for n in range(500)]
    tuned = ["no" if n < 30 or (n >= 100 and n % 20 == 0) else "yes" for n in range(500)]
    facts = summarise(ask(wanted, slice=slices), side("base", base), side("tuned", tuned), QUICK)
    assert facts["verdict"]["verdict"] != "worse"
    assert {entry["slice"]: entry["verdict"] for entry in facts["slices"]} == {"rare": "worse", "usual": "better"}


def test_one_of_forty_slices_that_is_worse_by_chance_is_not_called_so(ask: Ask) -> None:
    random = np.random.default_rng(2)
    wanted = ["yes"] * 1600
    slices = [f"slice {n % 40:02d}" for n in range(1600)]
    said = [["yes" if right else "no" for right in random.random(1600) < 0.7] for _ in range(2)]
    facts = summarise(ask(wanted, slice=slices), side("base", said[0]), side("tuned", said[1]), QUICK)
    alone = [entry for entry in facts["slices"] if entry["p"] < 0.05]
    assert alone
    assert {entry["verdict"] for entry in facts["slices"]} == {"cannot tell"}
    assert "among 40 slices" in alone[0]["reason"]
    assert alone[0]["p_adjusted"] > 0.05


def test_conditions_that_differ_leave_no_p_value_and_no_verdict(ask: Ask) -> None:
    questions = ask(["yes", "no"] * 50, slice=["a", "b"] * 50)
    sides = side("base", ["?"] * 100), side("tuned", ["yes", "no"] * 50)
    assert summarise(questions, *sides, QUICK)["verdict"]["verdict"] == "better"
    facts = summarise(questions, *sides, QUICK, differing=["template"])
    for entry in (*facts["metrics"], *facts["slices"]):
        assert (entry["verdict"], entry["p"], entry["p_equivalent"]) == ("cannot tell", None, None)
        assert entry["reason"] == "asked under conditions that differ: template"


def test_groups_are_the_units(ask: Ask) -> None:
    groups = [f"user {n // 5}" for n in range(100)]
    questions = ask(["yes", "no"] * 50, group=groups)
    facts = summarise(questions, side("base", ["no"] * 100), side("tuned", ["yes"] * 100), QUICK)
    assert (facts["verdict"]["rows"], facts["verdict"]["units"], facts["verdict"]["gained"]) == (100, 20, None)


def test_byte_equal_outputs_are_identical_and_losses_only_when_they_are(ask: Ask) -> None:
    questions = ask(["yes", "no"] * 50)
    same = ["yes"] * 100
    facts = summarise(questions, side("base", same), side("tuned", same, [2.0] * 99 + [2.1]), QUICK)
    assert facts["verdict"]["verdict"] == "identical"
    assert named(facts["metrics"], "loss")["verdict"] == "equivalent"
    facts = summarise(questions, side("base", same), side("tuned", same), QUICK)
    assert named(facts["metrics"], "loss")["verdict"] == "identical"


def test_everything_is_plain_json(ask: Ask) -> None:
    huge = [2000.0 * 2] * 40
    facts = summarise(ask(["yes", "no"] * 20), side("base", ["a"] * 40, huge), side("tuned", ["b"] * 40, huge), QUICK)
    assert named(facts["metrics"], "perplexity")["base"]["value"] is None
    json.dumps(facts, allow_nan=False)


def test_one_row_has_no_verdict(ask: Ask) -> None:
    facts = summarise(ask(["yes"]), side("base", ["no"]), side("tuned", ["yes"]), QUICK)
    assert facts["verdict"]["verdict"] == "cannot tell"
    assert facts["verdict"]["difference"] == {"value": 1.0, "low": None, "high": None}


def test_many_fields_and_slices_are_cut_and_counted(ask: Ask) -> None:
    wanted = [json.dumps({f"field{n}": n for n in range(45)})] * 90
    questions = ask(wanted, slice=[f"slice{n % 45}" for n in range(90)])
    facts = summarise(questions, side("base", wanted), side("tuned", wanted), QUICK)
    assert (len(facts["fields"]), facts["fields_left_out"]) == (40, 5)
    assert (len(facts["slices"]), facts["slices_left_out"]) == (40, 5)


def test_every_metric_belongs_to_a_task_and_says_what_it_is() -> None:
    used = {name for names in METRICS_OF.values() for name in names} | {"ended", "loss", "perplexity", "bits_per_byte"}
    used.add("preferred")  # of rows with two answers, whatever the task
    assert used | set(calibration.METRICS) == set(METRICS)
    assert all(metric.title and metric.meaning for metric in METRICS.values())


def test_scored_rows_add_up_to_the_metric(ask: Ask) -> None:
    questions = ask([answer("a"), "words", answer("b")])
    one = side("tuned", [answer("a"), "words", answer("c")])
    kept = scored(questions, one, columns(questions, "json", one))
    assert {entry.metric for entry in kept if entry.row_id == "row1"} == {"exact_match", "ended", "nats", "tokens"}
    hits = [entry.value for entry in kept if entry.metric == "field_hits"]
    assert hits == [2.0, 1.0]
