"""One model's part in an evaluation, and the columns of every metric that applies to it; imports no torch.

R = questions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from metier.core.types import Scored
from metier.evaluate.questions import Question
from metier.evaluate.task import METRICS_OF, Task
from metier.score import sureness
from metier.score.answers import flags, of_answers, of_head
from metier.score.metrics import METRICS, metric_of

MARGIN = "margin"
"""How much likelier the better of two answers is than the worse one, in nats, times the row's weight."""

NUMBERS = (sureness.BRIER, sureness.CONFIDENCE, sureness.HELD, MARGIN)
"""What is told of every row beside its answer. Of a head: Brier's score, and the probability of what it chose; of a
model that writes labels the same of its likeliest label, and whether that is right."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """One model's part: `outputs` [R] (None where nothing was asked), whether each `ended`, and its losses.

    `nats` and `tokens` are float64 [R], weighted sums over the labels of a row; 0 and 0 where it was not measured.
    `numbers`: name (see `NUMBERS`) -> float64 [R], where every class has a probability, or a row has two
    answers. `graded`: metric of a
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
        found |= sureness.columns(side.numbers) if sureness.HELD in side.numbers else {}
        return {name: found[name] for name in METRICS if name in found} | dict(side.graded)
    if asked:
        outputs = [side.outputs[place] or "" for place in asked]
        references = [questions[place].reference or "" for place in asked]
        tables = of_answers(outputs, references, METRICS_OF[task]) | {
            "ended": flags([side.ended[place] for place in asked])
        }
        for name, table in tables.items():
            whole = np.zeros((len(questions), table.shape[1]))
            whole[asked] = table
            found[name] = whole
    losses = np.stack([side.nats, side.tokens], axis=1)
    if any(question.item is None for question in questions):  # a task has no answer to be surprised at
        found |= {"loss": losses, "perplexity": losses}
    if MARGIN in side.numbers:
        found["preferred"] = flags(side.numbers[MARGIN] > 0)
    if not asked and np.any(side.tokens):
        found["bits_per_byte"] = _bits(questions, side)
    if sureness.HELD in side.numbers:
        found |= sureness.columns(side.numbers)
    return {name: found[name] for name in METRICS if name in found} | dict(side.graded)


def _bits(questions: Sequence[Question], side: Side) -> np.ndarray:
    """Return float64 [R, 2]: bits and bytes of plain texts; 0 and 0 where a text was not measured."""
    sizes = np.array([len(question.prompt.encode("utf-8", "surrogatepass")) for question in questions], np.float64)
    return np.stack([side.nats / np.log(2), np.where(side.tokens > 0, sizes, 0.0)], axis=1)


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
