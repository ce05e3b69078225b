"""Labels as numbers: what a head is taught for a row, and what its outputs say; imports no torch.

Shapes: R = rows, K = outputs of the head: one a class, one a label, or one number.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from metier.core import digest
from metier.core.errors import DataError
from metier.core.types import ChatRow, LabelledRow, Row

HeadKind = Literal["classify", "multilabel", "regress"]
FILE = "head.json"
"""Stands beside the weights of a model with a head."""

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What the outputs of a head mean.

    `classify`: one logit a class, softmax. `multilabel`: one logit a label, each a yes or no of its own. `regress`:
    one number, in standard deviations (`spread`) above the mean of the training rows (`mean`).
    """

    kind: HeadKind
    labels: tuple[str, ...]
    mean: float = 0.0
    spread: float = 1.0

    @property
    def width(self) -> int:
        """The number of outputs K."""
        return len(self.labels)

    def vector(self, row: Row) -> np.ndarray:
        """Return what the head should say, float32 [K]: a one for each label that applies, or the scaled number.

        Raises:
            DataError: the row's label is none of this kind, or was not there in training.
        """
        if self.kind == "regress":
            return np.array([(_number(row) - self.mean) / self.spread], np.float32)
        found = np.zeros(self.width, np.float32)
        for name in _names(row, self.kind):
            if name not in self.labels:
                raise DataError(
                    f"{row.source}: label {name!r} stands in no training row",
                    f"one of the {self.width} labels of the training rows",
                    "add training rows with it, or take this row out",
                )
            found[self.labels.index(name)] = 1
        return found

    def vectors(self, rows: Items[Row]) -> np.ndarray:
        """Return the vectors of rows, float32 [R, K]."""
        return np.stack([self.vector(row) for row in rows]) if rows else np.zeros((0, self.width), np.float32)

    def values(self, logits: np.ndarray) -> np.ndarray:
        """Turn outputs [R, K] into probabilities, or into numbers in the unit of the rows; float64 [R, K]."""
        exact = np.asarray(logits, np.float64)
        if self.kind == "regress":
            return exact * self.spread + self.mean
        if self.kind == "multilabel":
            return 0.5 * (1 + np.tanh(exact / 2))
        shifted = np.exp(exact - exact.max(axis=1, keepdims=True))
        return shifted / shifted.sum(axis=1, keepdims=True)

    def answers(self, values: np.ndarray) -> list[str]:
        """Write what a head says (see `values`) as the rows write their labels."""
        if self.kind == "regress":
            return [repr(float(value)) for value in values[:, 0]]
        if self.kind == "multilabel":
            return [digest.canonical_json([self.labels[k] for k in np.flatnonzero(row > 0.5)]) for row in values]
        return [self.labels[k] for k in values.argmax(axis=1)]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"kind": self.kind, "labels": list(self.labels), "mean": self.mean, "spread": self.spread}


def fit(rows: Items[Row], kind: HeadKind) -> Targets:
    """Read from the training rows what a head has to tell apart.

    Raises:
        DataError: a row's label is none of this kind, or there is nothing to tell apart.
    """
    if kind == "regress":
        numbers = np.array([_number(row) for row in rows], np.float64)
        mean, spread = float(numbers.mean()), float(numbers.std())
        if not spread > 0:
            raise DataError(
                f"all {len(rows):,} training rows have the score {numbers[0]:g}",
                "scores that differ",
                "check the column",
            )
        return Targets(kind=kind, labels=("score",), mean=mean, spread=spread)
    counts = Counter(name for row in rows for name in _names(row, kind))
    if kind == "classify" and len(counts) < 2:
        raise DataError(
            f"all {len(rows):,} training rows have the label {next(iter(counts))!r}", "at least two labels",
            "check the label column (prepare.columns)",
        )  # fmt: skip
    if not counts:
        raise DataError(f"none of {len(rows):,} training rows has a label", "at least one label", "check the column")
    return Targets(kind=kind, labels=tuple(sorted(counts)))


def label_text(row: Row) -> str:
    """Return the label of a row as text; of a conversation, what its last turn says.

    Raises:
        DataError: plain text or a pair: there is no label.
    """
    if isinstance(row, LabelledRow):
        return row.label
    if isinstance(row, ChatRow) and row.messages[-1].role == "assistant":
        return row.messages[-1].content
    raise DataError(f"{row.source}: no label", "a text and its label", "set train.objective: chat for such rows")


def write(targets: Targets, folder: Path) -> None:
    """Write head.json into a model's folder."""
    text = json.dumps(targets.as_dict(), ensure_ascii=False, indent=1)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Targets | None:
    """Read the head.json of a model's folder; None where there is none: the model writes text.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Targets(
            kind=data["kind"], labels=tuple(data["labels"]), mean=float(data["mean"]), spread=float(data["spread"])
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a head ({error})", "the one that training wrote") from error


def _names(row: Row, kind: HeadKind) -> list[str]:
    """Return the labels of a row: one for `classify`, any number for `multilabel`."""
    text = label_text(row)
    several = _listed(text)
    if kind == "classify":
        if isinstance(row, LabelledRow) and row.answer == "labels":
            raise DataError(
                f"{row.source}: a list of labels {text[:60]}", "one label a row", "set train.objective: multilabel"
            )
        return [text.strip()]
    if several is None:
        if isinstance(row, LabelledRow) and row.answer == "score":
            raise DataError(f"{row.source}: a number {text}", "a list of labels", "set train.objective: regress")
        return [text.strip()]
    return several


def _listed(text: str) -> list[str] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return [str(name) for name in value] if isinstance(value, list) else None


def _number(row: Row) -> float:
    text = label_text(row)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"{row.source}: label {text[:60]!r}", "a number", "set train.objective: classify, or mend the row"
        )
    return value
