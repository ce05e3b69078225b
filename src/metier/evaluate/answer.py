"""Let one model answer and be measured, and keep what a base said: it says the same to the same prompts."""

import json
from collections.abc import Callable
from collections.abc import Sequence as Many
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from metier.core import artefact
from metier.core.progress import Progress, Task
from metier.core.types import Reasoned, Sequence
from metier.engine.sample import Completion, complete
from metier.forest.read import row_losses
from metier.forest.way import Way

Groups = Many[tuple[Sequence, ...]]
"""The sequences of each row; a row may have none, or several."""

_KIND = "answers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How answers are made: greedily, until a stop token or the limit."""

    stop_ids: tuple[int, ...]
    max_new_tokens: int
    pad_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """Everything one model is confronted with: prompts (None: nothing to answer), rows and general text to measure."""

    prompts: Many[list[int] | None]
    rows: Groups
    general: Groups
    decoding: Decoding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answered:
    """What one model did.

    `completions` [R]: None where nothing was asked. `rows` float64 [R, 2] and `general` float64 [G, 2]: nats and
    tokens, weighted sums over labels; 0 and 0 where nothing was measured.
    """

    completions: tuple[Completion | None, ...]
    rows: np.ndarray
    general: np.ndarray


def answer(model: torch.nn.Module, asked: Asked, *, name: str, progress: Progress, way: Way | None = None) -> Answered:
    """Confront a model with everything; `name` stands before its progress bars, `way` spares it another probe."""
    listener = _Named(progress, name)
    places = [place for place, prompt in enumerate(asked.prompts) if prompt is not None]
    decoding = asked.decoding
    said = complete(
        model,
        [asked.prompts[place] or [] for place in places],
        stop_ids=decoding.stop_ids,
        max_new_tokens=decoding.max_new_tokens,
        pad_id=decoding.pad_id,
        progress=listener,
    )
    completions: list[Completion | None] = [None] * len(asked.prompts)
    for place, completion in zip(places, said, strict=True):
        completions[place] = completion
    both = losses(model, [*asked.rows, *asked.general], progress=listener, way=way)
    return Answered(completions=tuple(completions), rows=both[: len(asked.rows)], general=both[len(asked.rows) :])


def losses(model: torch.nn.Module, groups: Groups, *, progress: Progress, way: Way | None = None) -> np.ndarray:
    """Return weighted nats and tokens of each row, float64 [rows, 2], summed over its sequences.

    Sequences share model calls where this model keeps them apart (probed); otherwise each has a call of its own.
    """
    flat = [sequence for group in groups for sequence in group]
    owners = [row for row, group in enumerate(groups) for _ in group]
    table = np.zeros((len(groups), 2))
    if not flat:
        return table
    parts = row_losses(model, flat, progress=progress, way=way)
    for row, part in zip(owners, parts, strict=True):
        table[row] += part
    return table


def remembered(store: Path, key: str, make: Callable[[], Answered]) -> tuple[Answered, bool]:
    """Return the answers kept under `key` in a project's cache (and True), or make and keep them (and False).

    Args:
        store: the project's `.metier` folder.
        key: a digest of everything that the answers are a function of.
        make: asks the model.
    """
    target = store / "cache" / f"answers-{key[:16]}"
    if artefact.exists(target, _KIND) and artefact.read(target, _KIND).facts["key"] == key:
        artefact.verify(target, _KIND)
        return _read(target / "answers.json"), True
    answered = make()
    with artefact.publish(target, kind=_KIND, facts={"key": key}) as folder:
        (folder / "answers.json").write_text(_text(answered), encoding="utf-8")
    return answered, False


def _text(answered: Answered) -> str:
    """Write answers as JSON; Python's shortest form of a float gives the same float back."""
    return json.dumps(
        {
            "ids": [None if entry is None else entry.ids for entry in answered.completions],
            "finish": [None if entry is None else entry.finish for entry in answered.completions],
            "rows": answered.rows.tolist(),
            "general": answered.general.tolist(),
        }
    )


def _read(path: Path) -> Answered:
    data = artefact.read_json(path)
    return Answered(
        completions=tuple(
            None if ids is None else Completion(ids=tuple(ids), finish=finish)
            for ids, finish in zip(data["ids"], data["finish"], strict=True)
        ),
        rows=np.array(data["rows"], dtype=np.float64).reshape(-1, 2),
        general=np.array(data["general"], dtype=np.float64).reshape(-1, 2),
    )


class _Named:
    """A listener that hears a model's name before each bar's."""

    def __init__(self, inner: Progress, name: str) -> None:
        self._inner = inner
        self._name = name

    def task(self, name: str, total: int, done: int = 0) -> AbstractContextManager[Task]:
        """Open a bar called "model: name"."""
        return self._inner.task(f"{self._name}: {name}", total, done)

    def say(self, text: str) -> None:
        """Show one line."""
        self._inner.say(text)

    def chose(self, choice: Reasoned) -> None:
        """Show a choice."""
        self._inner.chose(choice)
