"""A run's evaluation as a Report: the verdict in one sentence, then the evidence; imports no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metier.core.report import Cell, Example, Report, Verdict
from metier.evaluate import stored, tables
from metier.evaluate.metrics import METRICS
from metier.evaluate.stored import Evaluation
from metier.evaluate.wording import retention_sentence, sentence

_NAMES = ("base", "tuned")


def report(run: Path) -> Report:
    """Tell what a run's evaluation found.

    Raises:
        DataError: the run was not evaluated, or its evaluation was changed since.
    """
    evaluation = stored.read(run)
    facts = evaluation.facts
    confidence = facts["conditions"]["settings"]["confidence"]
    retention = tables.retention_tables(facts["retention"], _NAMES) if facts["retention"] else ()
    evidence = (
        tables.metrics_table(facts, _NAMES, confidence),
        *retention,
        tables.slices_table(facts, _NAMES),
        tables.fields_table(facts, _NAMES),
        tables.confusions_table(facts, _NAMES),
        tables.labels_table(facts, _NAMES),
    )
    figures = (tables.fields_figure(facts, _NAMES), tables.labels_figure(facts, _NAMES))
    return Report(
        title=f"Evaluation of {run.name}",
        verdict=verdict(facts),
        facts=_facts(facts),
        tables=tuple(table for table in evidence if table is not None),
        figures=tuple(figure for figure in figures if figure is not None),
        examples=tuple(_example(evaluation, entry) for entry in facts["worst"]),
        command="metier evaluate",
    )


def verdict(facts: Mapping[str, Any]) -> Verdict:
    """Say in one sentence whether the tuned model is better than its base, and what speaks against being glad.

    A base that knows nothing of the task is beaten by any constant answer, so a tuned model that is not clearly above
    that is told as such; and so is what it forgot.
    """
    found = sentence(facts["verdict"], confidence=facts["conditions"]["settings"]["confidence"])
    if facts["verdict"]["verdict"] != "better":
        return found
    caveats = []
    constant = _constant_answer(facts)
    low = facts["verdict"]["tuned"]["low"]
    if constant is not None and low is not None and low <= constant:
        caveats.append(f"not shown to be better than always answering the most frequent ({100 * constant:.1f} %)")
    if facts["retention"] and facts["retention"]["verdict"] == "lost":
        caveats.append("it forgot some general text (below)")
    if not caveats:
        return found
    return Verdict(text=f"{found.text}. But: {'; '.join(caveats)}", good=found.good)


def _constant_answer(facts: Mapping[str, Any]) -> float | None:
    """Return the deciding metric of a model that always says the most frequent thing, where that is known."""
    name = facts["verdict"]["name"]
    if name in ("field_f1", "field_accuracy") and facts["fields"] and not facts["fields_left_out"]:
        rows = sum(entry["rows"] for entry in facts["fields"])
        return sum(entry["rows"] * entry["commonest"]["share"] for entry in facts["fields"]) / rows
    if name in ("accuracy", "exact_match") and facts["commonest"]:
        return float(facts["commonest"]["share"])
    return None


def _facts(facts: Mapping[str, Any]) -> tuple[tuple[str, Cell], ...]:
    conditions = facts["conditions"]
    lines: list[tuple[str, Cell]] = [
        ("rows asked", f"{conditions['rows']:,} of the {conditions['split']} split"),
        ("kind of answer", f"{facts['task']['value']} ({facts['task']['reason']})"),
        ("metric that decides", f"{METRICS[facts['metric']['value']].title} ({facts['metric']['reason']})"),
        ("answers", f"greedy, at most {conditions['decoding']['max_new_tokens']} tokens"),
    ]
    if facts["commonest"]:
        lines.append(
            ("always the most frequent answer", f"would be right in {100 * facts['commonest']['share']:.1f} %")
        )
    if facts["retention"]:
        lines.append(("forgotten?", retention_sentence(facts["retention"])))
    if facts["test_openings"]:
        lines.append(("test split opened", _times(facts["test_openings"])))
    if facts["left_out"]:
        first = facts["left_out_rows"][0]
        lines.append(("rows left out", f"{facts['left_out']:,} (first: {first['source']}, {first['reason']})"))
    base, tuned = facts["seconds"]["base"], facts["seconds"]["tuned"]
    asked = "base asked in an earlier evaluation" if base is None else f"base {base:.0f} s"
    lines.append(("time", f"{asked}, tuned {tuned:.0f} s"))
    return tuple(lines)


def _times(count: int) -> str:
    if count == 1:
        return "once"
    return f"{count} times: the more often it decides, the less it is a test"


def _example(evaluation: Evaluation, entry: Mapping[str, Any]) -> Example:
    """Show one row with the answers of both models; plain text has none, so it shows the losses in its note."""
    question = evaluation.questions[entry["row"]]
    outputs = ()
    if question.reference is not None:
        outputs = tuple((name, evaluation.sides[name].outputs[entry["row"]] or "") for name in ("base", "tuned"))
    return Example(
        source=question.source,
        prompt=question.prompt,
        reference=question.reference or "",
        outputs=outputs,
        note=entry["note"],
    )
