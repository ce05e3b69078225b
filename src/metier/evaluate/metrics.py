"""The metrics: what each one is called, which way is good, and the sums it is made of; imports no torch.

R = questions. Every metric is a function of sums over rows, see `score.stats`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from metier.core.types import Scored
from metier.evaluate.answers import flags, of_head
from metier.evaluate.questions import Question
from metier.evaluate.task import METRICS_OF, Task
from metier.score import calibration, classify, generation, regression, structured
from metier.score.exact import clean, exact_match
from metier.score.overlap import word_f1
from metier.score.stats import Measure, Statistic, exponential, ratio

Unit = Literal["share", "nats per token", "perplexity", "number"]
NUMBERS = ("brier", "confidence")
"""What a head tells of every row beside its answer: Brier's score, and the probability of what it chose."""

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
    return Metric(title=title, meaning="as its grader in evaluate.graders says", statistic=_GRADED[statistic])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """One model's part: `outputs` [R] (None where nothing was asked), whether each `ended`, and its losses.

    `nats` and `tokens` are float64 [R], weighted sums over the labels of a row; 0 and 0 where it was not measured.
    `numbers`: name (see `NUMBERS`) -> float64 [R], where a head gives every class a probability. `graded`: metric of a
    grader -> its columns float64 [R, k].
    """

    name: str
    outputs: tuple[str | None, ...]
    ended: tuple[bool, ...]
    nats: np.ndarray = field(default_factory=lambda: np.zeros(0))
    tokens: np.ndarray = field(default_factory=lambda: np.zeros(0))
    numbers: Mapping[str, np.ndarray] = field(default_factory=dict)
    graded: Mapping[str, np.ndarray] = field(default_factory=dict)


def columns(questions: Sequence[Question], task: Task, side: Side) -> dict[str, np.ndarray]:
    """Return the columns float64 [R, k] of every metric that applies; rows it does not concern are all zeros."""
    asked = [place for place, question in enumerate(questions) if question.reference is not None]
    found: dict[str, np.ndarray] = {}
    if questions and all(question.headed is not None for question in questions):
        found = of_head([question.reference or "" for question in questions], list(side.outputs), task, side.numbers)
        return {name: found[name] for name in METRICS if name in found} | dict(side.graded)
    if asked:
        outputs = [side.outputs[place] or "" for place in asked]
        references = [questions[place].reference or "" for place in asked]
        tables = _of_answers(outputs, references, task) | {"ended": flags([side.ended[place] for place in asked])}
        for name, table in tables.items():
            whole = np.zeros((len(questions), table.shape[1]))
            whole[asked] = table
            found[name] = whole
    losses = np.stack([side.nats, side.tokens], axis=1)
    found |= {"loss": losses, "perplexity": losses}
    if not asked and np.any(side.tokens):
        found["bits_per_byte"] = _bits(questions, side)
    return {name: found[name] for name in METRICS if name in found} | dict(side.graded)


def _bits(questions: Sequence[Question], side: Side) -> np.ndarray:
    """Return float64 [R, 2]: bits and bytes of plain texts; 0 and 0 where a text was not measured."""
    sizes = np.array([len(question.prompt.encode("utf-8", "surrogatepass")) for question in questions], np.float64)
    return np.stack([side.nats / np.log(2), np.where(side.tokens > 0, sizes, 0.0)], axis=1)


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


def scored(questions: Sequence[Question], side: Side, tables: dict[str, np.ndarray]) -> list[Scored]:
    """Return every number of every row that is kept, in the order of the questions."""
    found = []
    for place, question in enumerate(questions):
        for name, table in tables.items():
            if np.any(table[place]):
                values = zip(metric_of(name).per_row, table[place], strict=False)
                found += [Scored(row_id=question.row_id, model=side.name, metric=m, value=float(v)) for m, v in values]
        found += [
            Scored(row_id=question.row_id, model=side.name, metric=name, value=float(values[place]))
            for name, values in side.numbers.items()
        ]
    return found


def _of_answers(outputs: list[str], references: list[str], task: Task) -> dict[str, np.ndarray]:
    makers = {
        "accuracy": lambda: flags([clean(o) == clean(r) for o, r in zip(outputs, references, strict=True)]),
        "exact_match": lambda: flags([exact_match(o, r) for o, r in zip(outputs, references, strict=True)]),
        "macro_f1": lambda: classify.counts(outputs, references, classify.labels_of(references)),
        "label_known": lambda: _known(outputs, references),
        "json_valid": lambda: _valid(outputs, references),
        "field_accuracy": lambda: _fields(outputs, references)[:, :2],
        "field_f1": lambda: _fields(outputs, references)[:, 2:],
        "word_f1": lambda: flags([word_f1(o, r) for o, r in zip(outputs, references, strict=True)]),
    }
    return {name: makers[name]() for name in METRICS_OF[task]}


def _known(outputs: list[str], references: list[str]) -> np.ndarray:
    labels = set(classify.labels_of(references))
    return flags([clean(output) in labels for output in outputs])


def _valid(outputs: list[str], references: list[str]) -> np.ndarray:
    """Return float64 [n, 2]; only rows whose right answer is a structure are concerned."""
    table = flags([structured.parse(output) is not None for output in outputs])
    return table * np.array([structured.parse(reference) is not None for reference in references])[:, None]


def _fields(outputs: list[str], references: list[str]) -> np.ndarray:
    """Return float64 [n, 5]: fields right, fields, and (field, value) hits, false alarms, misses."""
    table = np.zeros((len(references), 5))
    for row, (output, reference) in enumerate(zip(outputs, references, strict=True)):
        if structured.parse(reference) is not None:
            match = structured.compare(output, reference)
            fields = len(match.right) + len(match.wrong)
            table[row] = (len(match.right), fields, match.hits, match.false_alarms, match.misses)
    return table
