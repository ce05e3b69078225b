"""The metrics: what each one is called, which way is good, and the sums it is made of; imports no torch.

R = questions. Every metric is a function of sums over rows, see `score.stats`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from metier.score import calibration, classify, generation, regression
from metier.score.stats import Measure, Statistic, exponential, ratio

Unit = Literal["share", "nats per token", "perplexity", "number"]
_SHARE = (0.0, 1.0)
_ANY = (-np.inf, np.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric's name for readers, what it says, its unit, and how it follows from sums."""

    title: str
    meaning: str
    unit: Unit = "share"
    higher_is_better: bool = True
    statistic: Statistic = ratio
    per_row: tuple[str, ...] = ()
    """What its columns are called in scored.jsonl; empty: they are not written (they follow from the answers)."""

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest value it can have."""
        return _SHARE if self.unit == "share" else _ANY


METRICS: dict[str, Metric] = {
    "accuracy": Metric(title="accuracy", meaning="answers that are the right label", per_row=("accuracy",)),
    "exact_match": Metric(
        title="exact match", meaning="answers that are the right answer, whole", per_row=("exact_match",)
    ),
    "macro_f1": Metric(
        title="macro-F1", meaning="F1 averaged over labels, rare ones counting as much", statistic=classify.macro_f1
    ),
    "micro_f1": Metric(title="micro-F1", meaning="F1 over all (row, label) pairs", statistic=classify.micro_f1),
    "label_known": Metric(title="known label", meaning="answers that are a label at all", per_row=("label_known",)),
    "json_valid": Metric(title="valid JSON", meaning="answers that are JSON", per_row=("json_valid",)),
    "field_accuracy": Metric(
        title="fields right",
        meaning="fields of the right answers that are right",
        per_row=("fields_right", "fields"),
    ),
    "field_f1": Metric(
        title="field F1",
        meaning="F1 over (field, value) pairs: missing and invented ones both cost",
        statistic=classify.micro_f1,
        per_row=("field_hits", "field_false_alarms", "field_misses"),
    ),
    "calls_right": Metric(
        title="calls right",
        meaning="answers with the right calls: functions, arguments, order; none where none is wanted",
        per_row=("calls_right",),
    ),
    "call_order": Metric(
        title="calls in order", meaning="answers that call the right functions in their order", per_row=("call_order",)
    ),
    "function_f1": Metric(
        title="function F1",
        meaning="F1 over the names of the functions that are called",
        statistic=classify.micro_f1,
        per_row=("function_hits", "function_false_alarms", "function_misses"),
    ),
    "argument_f1": Metric(
        title="argument F1",
        meaning="F1 over (function, argument, value)",
        statistic=classify.micro_f1,
        per_row=("argument_hits", "argument_false_alarms", "argument_misses"),
    ),
    "word_f1": Metric(title="word F1", meaning="words shared with the right answer", per_row=("word_f1",)),
    "brier": Metric(
        title="Brier score",
        meaning="squared error of the probabilities, summed over the labels; 0 is perfect",
        unit="number",
        higher_is_better=False,
    ),
    "ece": Metric(
        title="calibration error",
        meaning="how far the probability of what is chosen is from how often it is right",
        higher_is_better=False,
        statistic=calibration.expected_error,
    ),
    "mae": Metric(
        title="mean absolute error", meaning="in the unit of the rows", unit="number", higher_is_better=False
    ),
    "rmse": Metric(
        title="root mean square error",
        meaning="the same with large errors counting more",
        unit="number",
        higher_is_better=False,
        statistic=regression.root_mean_square,
    ),
    "spearman": Metric(
        title="rank correlation",
        meaning="Spearman's: 1 when the order is right, 0 when there is none",
        unit="number",
        statistic=regression.correlation,
    ),
    "ended": Metric(title="ended", meaning="answers that ended by themselves, not at the limit", per_row=("ended",)),
    "preferred": Metric(
        title="prefers the better",
        meaning="pairs whose better answer the model finds likelier than the worse one",
        per_row=("preferred",),
    ),
    "loss": Metric(
        title="loss",
        meaning="surprise at the right answers; lower is better",
        unit="nats per token",
        higher_is_better=False,
        per_row=("nats", "tokens"),
    ),
    "bits_per_byte": Metric(
        title="bits per byte",
        meaning="surprise at plain text, by its bytes: comparable between tokenizers",
        unit="number",
        higher_is_better=False,
    ),
    "perplexity": Metric(
        title="perplexity",
        meaning="the same as a number of equally likely choices",
        unit="perplexity",
        higher_is_better=False,
        statistic=exponential,
    ),
}
"""Every metric that an evaluation can hold, in the order of its table."""


_GRADED: dict[str, Statistic] = {
    "mean": ratio,
    "share": ratio,
    "f1": classify.micro_f1,
    "bleu": generation.bleu,
}
"""Statistic in the name of a grader's metric -> how it follows from sums."""


def metric_of(name: str) -> Metric:
    """Return a metric by its name; a grader's is called `graded/STATISTIC/TITLE` and so carries all that it is."""
    if name in METRICS:
        return METRICS[name]
    _, statistic, title = name.split("/", 2)
    return Metric(title=title, meaning="as its grader says", statistic=_GRADED[statistic])


def measures(base: dict[str, np.ndarray], tuned: dict[str, np.ndarray]) -> dict[str, Measure]:
    """Pair the columns of two models, metric by metric."""
    return {name: measure(name, base[name], tuned[name]) for name in base if name in tuned}


def measure(name: str, base: np.ndarray, tuned: np.ndarray) -> Measure:
    """Pair the columns float64 [R, k] of one metric."""
    metric = metric_of(name)
    single = metric.unit == "share" and metric.statistic is ratio
    binary = single and all(np.isin(table, (0.0, 1.0)).all() for table in (base, tuned))
    return Measure(
        name=name, first=base, second=tuned, statistic=metric.statistic, binary=bool(binary), bounds=metric.bounds
    )
