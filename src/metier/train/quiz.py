"""A few validation rows that the model answers at checks, scored by the arithmetic that `metier evaluate` uses.

Answers are greedy, so a resumed run gets the same ones. Nothing here draws a random number.
"""

import math
from collections.abc import Iterator
from collections.abc import Sequence as Many
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from metier.core.errors import DataError, SettingsError
from metier.core.progress import Silent
from metier.core.types import Row, Sequence, TaskRow, TextRow
from metier.engine.sample import complete
from metier.forest.states import row_states
from metier.score import calibration
from metier.score.answers import WRITTEN, flags, of_answers, of_head
from metier.score.metrics import metric_of
from metier.text import room, tasks
from metier.text.asking import Prompt, prompt
from metier.text.pooled import of_rows
from metier.text.render import Renderer
from metier.text.targets import HeadKind, Targets, label_text
from metier.text.tokenizer import Tokenizer
from metier.train.material import Material
from metier.train.objectives.regularised import Attention
from metier.train.settings import CheckSettings

_OF_HEAD: dict[HeadKind, tuple[str, tuple[str, ...]]] = {
    "classify": ("label", ("accuracy", "macro_f1", "brier", "ece")),
    "multilabel": ("labels", ("exact_match", "micro_f1", "macro_f1")),
    "regress": ("score", ("mae", "rmse", "spearman")),
}
"""What a head is for -> the kind of its answers, and their metrics."""


class Quiz(Protocol):
    """Rows to be answered by a model in training."""

    @property
    def rows(self) -> int:
        """How many."""

    def measure(self, model: torch.nn.Module) -> dict[str, float]:
        """Return every metric that the rows have a value of; the model is in training mode before and after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Questions that are answered in writing: prompts and right answers [R], and which `names` are measured."""

    prompts: tuple[list[int], ...]
    references: tuple[str, ...]
    tokenizer: Tokenizer
    most_new_tokens: int
    names: tuple[str, ...]

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.references)

    def measure(self, model: torch.nn.Module) -> dict[str, float]:
        """Let the model answer, and return the metrics."""
        with judging(model):
            said = complete(
                model, self.prompts, stop_ids=self.tokenizer.stop_ids, max_new_tokens=self.most_new_tokens,
                pad_id=self.tokenizer.pad_id, progress=Silent(),
            )  # fmt: skip
        outputs = [self.tokenizer.said(list(each.ids)) for each in said]
        tables = of_answers(outputs, self.references, [name for name in self.names if name != "ended"])
        if "ended" in self.names:
            tables["ended"] = flags([each.finish == "stop" for each in said])
        return _values(tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class Headed:
    """Questions that a head answers: their sequences [R], what it should say, and which `names` are measured."""

    sequences: list[Sequence]
    references: tuple[str, ...]
    head: Targets
    names: tuple[str, ...]

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.references)

    def measure(self, model: torch.nn.Module) -> dict[str, float]:
        """Read the head, and return the metrics."""
        with judging(model):
            found = dict(row_states(model, self.sequences, through_head=True))
        logits = [found[place][0].double().cpu().numpy() for place in range(len(self.sequences))]
        values = self.head.values(np.stack(logits))
        numbers = {}
        if self.head.kind == "classify":
            right = np.array([self.head.labels.index(reference) for reference in self.references])
            numbers = {"brier": calibration.brier(values, right), "confidence": values.max(axis=1)}
        kind = _OF_HEAD[self.head.kind][0]
        tables = of_head(self.references, self.head.answers(values), kind, numbers)
        return _values({name: tables[name] for name in self.names})


class Computing:
    """The context that a model trains in, which may be left for a while: answers are written in the engine's own."""

    def __init__(self, attention: Attention, model: torch.nn.Module) -> None:
        self._attention = attention
        self._model = model
        self._stack = ExitStack()

    def __enter__(self) -> "Computing":
        self._stack.enter_context(self._attention(self._model))
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @contextmanager
    def left(self) -> Iterator[None]:
        """Leave it inside the block."""
        self._stack.close()
        try:
            yield
        finally:
            self._stack.enter_context(self._attention(self._model))


def quiz(material: Material, settings: CheckSettings) -> Quiz | None:
    """Return the rows to be answered at checks; None where only the loss is wanted.

    Raises:
        SettingsError: a metric is wanted that these rows, or this objective, do not have.
    """
    names = tuple(dict.fromkeys([*settings.metrics, *([settings.best] if settings.best != "loss" else [])]))
    if not names:
        return None
    if not len(material.validation):
        raise SettingsError(
            f"train.check: {names[0]} without validation rows", "rows to answer",
            "raise prepare.validation_share, or name a data.validation file",
        )  # fmt: skip
    rows = _spread(material.rows, settings.rows)
    head = material.view.targets
    _require(names, (*WRITTEN, "ended") if head is None else _OF_HEAD[head.kind][1])
    return _written(rows, material.renderer, names, settings) if head is None else _headed(rows, material, head, names)


def _written(rows: Many[Row], renderer: Renderer, names: tuple[str, ...], settings: CheckSettings) -> Written:
    asked = [each for row in rows if (each := _asked(row, renderer)) is not None]
    if not asked:
        raise SettingsError(
            f"train.check: {names[0]} on rows without an answer", "questions with right answers",
            "leave train.check out: plain text is measured by its loss",
        )  # fmt: skip
    references = tuple(each.reference for each in asked)
    _require(names, (*_values(of_answers(references, references, WRITTEN)), "ended"))
    longest = room.longest((each.written or each.reference for each in asked), renderer.tokenizer)
    return Written(
        prompts=tuple(list(each.ids) for each in asked),
        references=references,
        tokenizer=renderer.tokenizer,
        most_new_tokens=settings.max_new_tokens or room.room(longest),
        names=names,
    )


def _headed(rows: Many[Row], material: Material, head: Targets, names: tuple[str, ...]) -> Headed:
    sequences, dropped = of_rows(rows, material.renderer, head)
    kept = [row for place, row in enumerate(rows) if place not in dropped]
    references = tuple(
        label_text(row) if head.kind == "regress" else head.answers(head.vector(row)[None])[0] for row in kept
    )
    return Headed(sequences=sequences, references=references, head=head, names=names)


def _spread(rows: Many[Row], most: int) -> list[Row]:
    """Return at most so many rows, evenly spread."""
    count = min(most, len(rows))
    return [rows[place * len(rows) // count] for place in range(count)]


def _asked(row: Row, renderer: Renderer) -> Prompt | None:
    if isinstance(row, TextRow) or (isinstance(row, TaskRow) and not tasks.reference(row)):
        return None
    try:
        return prompt(row, renderer)
    except DataError:
        return None  # nothing to answer, or the template refuses it: the preflight has told of that


def _require(names: Many[str], possible: Many[str]) -> None:
    unknown = [name for name in names if name not in possible]
    if unknown:
        raise SettingsError(
            f"train.check: {unknown[0]} is not measured on these rows", f"one of {', '.join(possible)}, or loss"
        )


def _values(tables: dict[str, np.ndarray]) -> dict[str, float]:
    values = {name: float(metric_of(name).statistic(table.sum(axis=0))) for name, table in tables.items()}
    return {name: value for name, value in values.items() if math.isfinite(value)}


@contextmanager
def judging(model: torch.nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode inside the block."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
