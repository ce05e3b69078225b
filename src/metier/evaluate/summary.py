"""From answers and losses of two models to everything an evaluation says, as plain values; imports no torch.

The two sides are called `base` and `tuned` throughout, also where two runs are compared (`compare`).
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metier.evaluate.metrics import Side, columns
from metier.evaluate.questions import Question
from metier.evaluate.settings import EvaluateSettings
from metier.evaluate.task import Task, deciding_metric, recognise
from metier.score import calibration, classify, significance, stats, structured, sureness
from metier.score.intervals import wilson
from metier.score.metrics import measure, measures, metric_of
from metier.score.resample import Sampling
from metier.score.stats import Estimate, Measure, Paired
from metier.score.structured import Leaves
from metier.score.verdict import Decision, among_many, decide, refused

_CONFUSIONS = 15
_MOST_FIELDS = 40
_MOST_SLICES = 40
_MOST_VALUES = 50


def summarise(
    questions: Sequence[Question],
    base: Side,
    tuned: Side,
    settings: EvaluateSettings,
    *,
    differing: Sequence[str] = (),
    unreliable: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Compare two models on the same questions.

    There is no p-value and no verdict where `differing` conditions are named, and none for an `unreliable` metric
    (by its name, with the reason).

    Returns:
        `task`, `metric` (each a value and its reason), `verdict` (the deciding metric), `metrics`, `slices`, `fields`,
        `labels`, `confusions`, `groups`, `commonest` (the most frequent right answer and its share: what a model gets
        that always says it). Numbers that do not exist are None.

    Raises:
        SettingsError: the metric that was set is not measured on these rows.
    """
    task_choice = recognise(questions, settings)
    task: Task = task_choice.value
    metric_choice = deciding_metric(questions, task, settings, list(tuned.graded), sure=_sure(base, tuned))
    deciding: str = metric_choice.value
    tables = [columns(questions, task, side) for side in (base, tuned)]
    found = measures(*tables)
    names = sorted({question.slice for question in questions if question.slice is not None})
    slices = [_within(found[deciding], questions, name) for name in names[:_MOST_SLICES]]
    trees = _trees(questions, base, tuned)
    paths = _paths(trees) if task == "json" else []
    fields = [_field(path, trees) for path in paths[:_MOST_FIELDS]]
    estimates = stats.compare(
        [*found.values(), *slices, *fields], groups=_groups(questions), sampling=sampling(settings)
    )
    refusal = refused(differing) if differing else None
    doubts = {name: Decision(word="cannot tell", reason=why, tested=False) for name, why in (unreliable or {}).items()}
    given = {name: refusal or doubts.get(name) or _if_identical(name, base, tuned) for name in found}
    metrics = [judged(paired, paired.name, settings, decision=given[paired.name]) for paired in estimates[: len(found)]]
    rest = estimates[len(found) :]
    return {
        "task": {"value": task, "reason": task_choice.reason},
        "metric": {"value": deciding, "reason": metric_choice.reason},
        "verdict": next(metric for metric in metrics if metric["name"] == deciding),
        "metrics": metrics,
        "slices": by_slice(names, rest[: len(slices)], deciding, settings, refusal=refusal or doubts.get(deciding)),
        "slices_left_out": max(0, len(names) - _MOST_SLICES),
        "fields": [
            judged(paired, "field_accuracy", settings, decision=refusal) | {"field": path} | _values(path, trees)
            for path, paired in zip(paths, rest[len(slices) :], strict=False)
        ],
        "fields_left_out": max(0, len(paths) - _MOST_FIELDS),
        **(_labels(questions, base, tuned, settings) if task == "label" else {"labels": [], "confusions": []}),
        "groups": any(question.group is not None for question in questions),
        "commonest": _commonest([question.reference or "" for question in questions])
        if task not in ("text", "score")
        else None,
    }


def sampling(settings: EvaluateSettings) -> Sampling:
    """Return how intervals are made."""
    return Sampling(samples=settings.resampling.samples, confidence=settings.confidence, seed=settings.resampling.seed)


def judged(
    paired: Paired, name: str, settings: EvaluateSettings, *, decision: Decision | None = None
) -> dict[str, Any]:
    """Return one comparison as plain values, with its verdict.

    Args:
        paired: both estimates and their difference.
        name: the metric, which says which way is good.
        settings: margin and confidence.
        decision: the verdict, where it does not follow from the estimate.
    """
    chosen = decision or _decided(paired, name, settings)
    margin = _margin(name, settings)
    tested = chosen.tested and paired.p is not None
    return {
        "name": name,
        "base": _plain(paired.first),
        "tuned": _plain(paired.second),
        "difference": _plain(paired.difference),
        "verdict": chosen.word,
        "reason": chosen.reason,
        "more_rows": chosen.more_rows,
        "rows": paired.rows,
        "units": paired.units,
        "method": paired.method,
        "gained": paired.gained,
        "lost": paired.lost,
        "p": paired.p if tested else None,
        "p_equivalent": significance.equivalence(paired, margin) if tested and margin else None,
        "detectable": significance.smallest_detectable(paired, confidence=settings.confidence),
    }


def by_slice(
    names: Sequence[str],
    found: Sequence[Paired],
    deciding: str,
    settings: EvaluateSettings,
    *,
    refusal: Decision | None = None,
) -> list[dict[str, Any]]:
    """Return the deciding metric of each slice; what so many looks would show by chance is taken back."""
    alone = [_decided(paired, deciding, settings) for paired in found]
    together = among_many(alone, found, confidence=settings.confidence)
    return [
        judged(paired, deciding, settings, decision=refusal or decision) | {"slice": name, "p_adjusted": p}
        for name, paired, (decision, p) in zip(names, found, together, strict=False)
    ]


def _decided(paired: Paired, name: str, settings: EvaluateSettings) -> Decision:
    if paired.rows == 0:
        return Decision(word="cannot tell", reason="no row to measure")
    better = metric_of(name).higher_is_better
    margin = _margin(name, settings)
    return decide(paired, higher_is_better=better, margin=margin, confidence=settings.confidence)


def _margin(name: str, settings: EvaluateSettings) -> float:
    return settings.margin if metric_of(name).unit != "perplexity" else 0.0


def _if_identical(name: str, base: Side, tuned: Side) -> Decision | None:
    return Decision(word="identical") if _identical(name, base, tuned) else None


def _plain(estimate: Estimate) -> dict[str, float | None]:
    """Return an estimate for JSON, which knows no infinity: what is not finite becomes None."""
    values = dataclasses.asdict(estimate)
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _groups(questions: Sequence[Question]) -> list[str | None] | None:
    groups = [question.group for question in questions]
    return groups if any(group is not None for group in groups) else None


def _identical(name: str, base: Side, tuned: Side) -> bool:
    """Tell whether all answers (for a loss: all losses) of the two models are the same, bit for bit."""
    if name in ("loss", "perplexity"):
        return bool(np.array_equal(base.nats, tuned.nats) and np.array_equal(base.tokens, tuned.tokens))
    if name.startswith("graded/"):
        return bool(base.outputs == tuned.outputs and np.array_equal(base.graded[name], tuned.graded[name]))
    both = base.numbers.keys() & tuned.numbers
    if _sure(base, tuned):
        of_labels = {sureness.BRIER, sureness.CONFIDENCE, sureness.HELD}
        if name in calibration.METRICS:
            return all(np.array_equal(base.numbers[number], tuned.numbers[number]) for number in of_labels)
        both -= of_labels
    same = base.outputs == tuned.outputs and base.ended == tuned.ended
    return same and all(np.array_equal(base.numbers[n], tuned.numbers[n]) for n in both)


def _sure(base: Side, tuned: Side) -> bool:
    """Tell whether both models gave every label a probability, though they write."""
    return all(sureness.HELD in side.numbers for side in (base, tuned))


def _within(whole: Measure, questions: Sequence[Question], name: str) -> Measure:
    """Return a measure of the rows of one slice only."""
    inside = np.array([question.slice == name for question in questions])[:, None]
    return measure(whole.name, np.where(inside, whole.first, 0.0), np.where(inside, whole.second, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trees:
    """Every right answer and every answer of both models as (path, values), None where it is no structure."""

    wanted: list[Leaves | None]
    base: list[Leaves | None]
    tuned: list[Leaves | None]

    def at(self, path: str) -> tuple[list[str | None], list[str | None], list[str | None]]:
        """Return what stands at a path in the right answers, the base's and the tuned model's."""
        wanted, base, tuned = (
            [structured.value_at(leaves, path) for leaves in side] for side in (self.wanted, self.base, self.tuned)
        )
        return wanted, base, tuned


def _trees(questions: Sequence[Question], base: Side, tuned: Side) -> _Trees:
    def read(texts: Iterable[str | None]) -> list[Leaves | None]:
        return [structured.leaves(structured.parse(text or "")) for text in texts]

    return _Trees(
        wanted=read(question.reference for question in questions), base=read(base.outputs), tuned=read(tuned.outputs)
    )


def _paths(trees: _Trees) -> list[str]:
    """Return the fields of the right answers: those in most rows first, then in the order they first appear."""
    seen = Counter(path for leaves in trees.wanted for path in leaves or {})
    return sorted(seen, key=lambda path: -seen[path])


def _field(path: str, trees: _Trees) -> Measure:
    """Return the share of rows with exactly the right values at a path, among rows whose right answer has it."""
    wanted, *said = trees.at(path)
    concerned = np.array([value is not None for value in wanted])
    first, second = (np.array([a == b for a, b in zip(side, wanted, strict=True)]) for side in said)
    return stats.share(path, first, second, concerned)


def _values(path: str, trees: _Trees) -> dict[str, Any]:
    """Return what is known of a field's values: their number, the commonest, and macro-F1 where they are few."""
    wanted, base, tuned = trees.at(path)
    rows = [row for row, value in enumerate(wanted) if value is not None]
    values = [wanted[row] or "" for row in rows]
    names = classify.labels_of(values)
    found: dict[str, Any] = {"values": len(names), "commonest": _commonest(values)}
    if len(names) > min(_MOST_VALUES, len(rows) / 2):
        return found | {"base_macro_f1": None, "tuned_macro_f1": None}
    for name, said in (("base", base), ("tuned", tuned)):
        sums = classify.counts([said[row] or "" for row in rows], values, names).sum(axis=0)
        found[f"{name}_macro_f1"] = float(classify.macro_f1(sums))
    return found


def _commonest(values: Sequence[str]) -> dict[str, Any]:
    """Return the most frequent of the values, and its share."""
    value, count = Counter(values).most_common(1)[0]
    return {"value": value, "share": count / len(values)}


def _labels(questions: Sequence[Question], base: Side, tuned: Side, settings: EvaluateSettings) -> dict[str, Any]:
    """Return the scores of every label and the most frequent mistakes of the tuned model."""
    rows = [row for row, question in enumerate(questions) if question.reference is not None]
    wanted = [questions[row].reference or "" for row in rows]
    said = {name: [side.outputs[row] or "" for row in rows] for name, side in (("base", base), ("tuned", tuned))}
    scores = {name: classify.per_label(outputs, wanted) for name, outputs in said.items()}
    labels = []
    for first, second in zip(scores["base"], scores["tuned"], strict=True):
        entry: dict[str, Any] = {"label": first.label, "rows": first.rows}
        for name, score in (("base", first), ("tuned", second)):
            low, high = wilson(score.right, score.rows, settings.confidence)
            recall = {"value": score.recall, "low": low, "high": high}
            entry[name] = {"recall": recall, "precision": score.precision, "f1": score.f1}
        labels.append(entry)
    before = {(a, b): count for a, b, count in classify.confusions(said["base"], wanted, most=len(wanted))}
    mistakes = classify.confusions(said["tuned"], wanted, most=_CONFUSIONS)
    return {
        "labels": labels,
        "confusions": [
            {"wanted": a, "said": b, "rows": count, "base_rows": before.get((a, b), 0)} for a, b, count in mistakes
        ],
    }
