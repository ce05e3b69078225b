"""A run's evaluation as a Report: the verdict in one sentence, then the evidence; imports no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metier.core.report import Cell, Example, Report, Verdict
from metier.evaluate import against, stored, tables
from metier.evaluate.probes.tables import probe_tables
from metier.evaluate.production.tables import production_lines, production_table
from metier.evaluate.stored import Evaluation
from metier.evaluate.wording import change, level, retention_sentence, sentence
from metier.score.metrics import metric_of

_NAMES = ("base", "tuned")


def report(run: Path) -> Report:
    """Tell what a run's evaluation found.

    Raises:
        DataError: the run was not evaluated, or its evaluation was changed since.
    """
    evaluation = stored.read(run)
    facts, others = evaluation.facts, against.read(run)
    confidence = facts["conditions"]["settings"]["confidence"]
    retention = tables.retention_tables(facts["retention"], _NAMES) if facts["retention"] else ()
    evidence = (
        tables.metrics_table(facts, _NAMES, confidence),
        against.table(others, run.name),
        *retention,
        tables.suites_table(facts, _NAMES),
        production_table(facts, _NAMES),
        *probe_tables(facts.get("probes"), _NAMES),
        tables.slices_table(facts, _NAMES),
        tables.fields_table(facts, _NAMES),
        tables.confusions_table(facts, _NAMES),
        tables.labels_table(facts, _NAMES),
    )
    figures = (tables.fields_figure(facts, _NAMES), tables.labels_figure(facts, _NAMES))
    return Report(
        title=f"Evaluation of {run.name}",
        verdict=verdict(facts, others),
        facts=_facts(facts),
        tables=tuple(table for table in evidence if table is not None),
        figures=tuple(figure for figure in figures if figure is not None),
        examples=tuple(_example(evaluation, entry) for entry in facts["worst"]),
        command="metier evaluate",
    )


def verdict(facts: Mapping[str, Any], others: Sequence[Mapping[str, Any]] = ()) -> Verdict:
    """Say in one sentence whether the tuned model is better than its base, and what speaks against being glad.

    A base that knows nothing of the task is beaten by any constant answer, so a tuned model that is not clearly above
    that is told as such; and so is what it forgot.
    """
    found = sentence(facts["verdict"], confidence=facts["conditions"]["settings"]["confidence"])
    if facts.get("spared") and facts["verdict"]["verdict"] in ("equivalent", "identical"):
        return Verdict(text=f"{found.text}: as good without the long prompt as the base with it", good=True)
    if facts["verdict"]["verdict"] != "better":
        return found
    caveats = [f"{name} is better than it (below)" for name in against.behind(others)]
    constant = _constant_answer(facts)
    low = facts["verdict"]["tuned"]["low"]
    metric = metric_of(facts["verdict"]["name"])
    end = low if metric.higher_is_better else facts["verdict"]["tuned"]["high"]
    if constant is not None and end is not None and (end <= constant) == metric.higher_is_better:
        value = level(facts["verdict"]["name"], constant)
        caveats.append(f"not shown to be better than always answering the most frequent ({value})")
    if facts["retention"] and facts["retention"]["verdict"] == "lost":
        caveats.append("it forgot some general text (below)")
    lost = [
        entry["suite"] for entry in facts.get("suites") or [] if entry["kept"] == "lost" and not entry.get("of_bias")
    ]
    if lost:
        caveats.append(f"it lost in {', '.join(lost)} (below)")
    caveats += _slices_worse(facts)
    if (facts.get("leaked") or {}).get("rows"):
        leaked = facts["leaked"]
        caveats.append(f"{leaked['rows']:,} of the rows asked were trained on (first: {leaked['sources'][0]})")
    if conditions_cut := _cut_off(facts):
        caveats.append(conditions_cut)
    if not caveats:
        return found
    return Verdict(text=f"{found.text}. But: {'; '.join(caveats)}", good=found.good)


def _cut_off(facts: Mapping[str, Any]) -> str:
    """Say that answers were cut off, where a good part of the tuned model's were."""
    ended = next((metric for metric in facts["metrics"] if metric["name"] == "ended"), None)
    value = ended["tuned"]["value"] if ended else None
    if value is None or value >= 0.95:
        return ""
    return f"{100 * (1 - value):.0f} % of its answers were cut off at the limit (evaluate.max_new_tokens)"


def _slices_worse(facts: Mapping[str, Any]) -> list[str]:
    """Name the slices that got worse though the whole got better."""
    worse = [entry["slice"] for entry in facts["slices"] if entry["verdict"] == "worse"]
    return [f"worse in the slice {', '.join(worse)}"] if worse else []


def _constant_answer(facts: Mapping[str, Any]) -> float | None:
    """Return the deciding metric of a model that always says the most frequent thing, where that is known."""
    if facts.get("constant"):
        return float(facts["constant"]["value"])
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
        ("metric that decides", f"{metric_of(facts['metric']['value']).title} ({facts['metric']['reason']})"),
        ("answers", _how_answered(conditions["decoding"])),
    ]
    if facts["verdict"].get("detectable"):
        least = change(facts["metric"]["value"], facts["verdict"]["detectable"]).removeprefix("+")
        lines.append(("these rows can show", f"a difference of {least} or more, four times out of five"))
    lines += [("base", f"{choice['value']}: {choice['reason']}") for choice in _of_base(facts)]
    if facts.get("spared"):
        lines.append(("prompt", _spared(facts["spared"])))
    if facts.get("constant"):
        value = level(facts["metric"]["value"], facts["constant"]["value"])
        lines.append(("always the same answer", f"{facts['constant']['answer']}: {value}"))
    elif facts["commonest"]:
        lines.append(
            ("always the most frequent answer", f"would be right in {100 * facts['commonest']['share']:.1f} %")
        )
    if facts["retention"]:
        lines.append(("forgotten?", retention_sentence(facts["retention"])))
    elif facts.get("head") and conditions["settings"]["retention"]:
        lines.append(("forgotten?", "not measured: a model with a head writes no text"))
    lines += production_lines(facts)
    if facts["test_openings"]:
        lines.append(("test split opened", _times(facts["test_openings"])))
    lines += _of_graders(facts.get("grading") or {})
    if facts["left_out"]:
        first = facts["left_out_rows"][0]
        lines.append(("rows left out", f"{facts['left_out']:,} (first: {first['source']}, {first['reason']})"))
    base, tuned = facts["seconds"]["base"], facts["seconds"]["tuned"]
    asked = "base asked in an earlier evaluation" if base is None else f"base {base:.0f} s"
    lines.append(("time", f"{asked}, tuned {tuned:.0f} s"))
    return tuple(lines)


def _of_graders(grading: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """Say which rows could not be graded, and how far each judge can be trusted."""
    lines: list[tuple[str, Cell]] = []
    if grading.get("faults"):
        first = grading["fault_rows"][0]
        why = f"{first['source']}, {first['grader']}: {first['why']}"
        told = f"{grading['faults']:,}, they count for neither (first: {why})"
        lines.append(("rows not graded", told))
    for name, judge in grading.get("judges", {}).items():
        first = judge["first_share"]
        parts = [f"{judge['contradictions']:,} of {judge['rows']:,} judgements turn round when answers are swapped"]
        if first is not None:
            parts.append(f"chose the first {100 * first['value']:.0f} % of the time")
        if judge["agreement"] and judge["agreement"]["share"]:
            share = judge["agreement"]["share"]
            parts.append(f"agrees with people in {100 * share['value']:.0f} % of {judge['agreement']['rows']} rows")
        lines.append((f"judge '{name}'", "; ".join(parts)))
    return lines


def _how_answered(decoding: Mapping[str, Any]) -> str:
    if decoding["kind"] == "head":
        return "read from a head at the last token of the prompt"
    return f"greedy, at most {decoding['max_new_tokens']} tokens"


def _of_base(facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what was chosen for the base that a head is compared with."""
    return [choice for choice in facts["choices"] if choice["name"] == "evaluate.base"]


def _spared(spared: Mapping[str, Any]) -> str:
    """Say what a distilled model is not told any more."""
    return (
        f"the base reads the long prompt, the tuned model does without it: "
        f"{spared['tokens_saved_per_request']:.1f} tokens fewer a request, {spared['tokens_saved']:,} in all"
    )


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
