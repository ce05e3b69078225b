"""Context distillation: the same answer behind the long prompt (what the teacher sees) and without it (the student)."""

from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from metier.core.errors import DataError
from metier.core.types import ChatRow, Message, Row
from metier.text.render import Renderer
from metier.text.rendered import Rendered, columns

Drop = Literal["system", "examples", "all"]
"""What the student does not see: the system turn, the turns before the last question, or both."""

_SYSTEM_ROLES = ("system", "developer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Tokens of `requests` prompts with and without the dropped part."""

    requests: int
    with_prompt: int
    without: int

    def as_dict(self) -> dict[str, int | float]:
        """Return the figures with what is saved, in all and in the mean of a request."""
        saved = self.with_prompt - self.without
        return {
            "requests": self.requests,
            "prompt_tokens_before": self.with_prompt,
            "prompt_tokens_after": self.without,
            "tokens_saved": saved,
            "tokens_saved_per_request": saved / self.requests if self.requests else 0.0,
        }


def dropped(plan: Mapping[str, Any]) -> Drop | None:
    """Return what a run's recorded plan had its student do without; None: it was no distillation."""
    objective = plan.get("train", {}).get("objective", {})
    return objective["drop"] if objective.get("name") == "distil" else None


def student_row(row: Row, drop: Drop | None) -> Row:
    """Return a row as the student sees it."""
    if drop is None or not isinstance(row, ChatRow):
        return row
    turns = row.messages
    if drop != "system":
        turns = (*_system(turns), *_last_exchange(turns))
    if drop != "examples":
        turns = tuple(turn for turn in turns if turn.role not in _SYSTEM_ROLES)
    return replace(row, messages=turns)


def teacher_row(row: Row, drop: Drop | None) -> Row:
    """Return a row as the teacher sees it: whole, but learnt only where the student has the turn too."""
    if not isinstance(row, ChatRow) or drop in (None, "system"):
        return row
    kept = len(_last_exchange(row.messages))
    first = len(row.messages) - kept
    return replace(
        row,
        messages=tuple(
            replace(turn, weight=0.0) if place < first and turn.role == "assistant" else turn
            for place, turn in enumerate(row.messages)
        ),
    )


def student_renderer(renderer: Renderer, drop: Drop | None) -> Renderer:
    """Return the renderer of the student: `text.system` is part of what is dropped."""
    if drop in (None, "examples"):
        return renderer
    return replace(renderer, settings=renderer.settings.model_copy(update={"system": None}))


def pair(student: Rendered, teacher: Rendered) -> Rendered:
    """Put to every sequence of the student the teacher's of the same row; rows that one of them lacks are left out.

    Raises:
        DataError: the two differ in more than the prompt.
    """
    places = [_by_row(side) for side in (student, teacher)]
    shared = [row_id for row_id in places[0] if row_id in places[1]]
    numbers = [[number for row_id in shared for number in side[row_id]] for side in places]
    if len(numbers[0]) != len(numbers[1]):
        raise DataError(
            "a row becomes another number of sequences with its long prompt than without",
            "a chat template that does not rewrite earlier turns",
        )
    sides = [
        columns([side.sequence(number) for number in chosen], side.dropped)
        for side, chosen in zip((student, teacher), numbers, strict=True)
    ]
    for number in range(len(sides[0])):
        _require_same_answer(sides[0], sides[1], number)
    return replace(sides[0], partner=sides[1])


def require_saving(rendered: Rendered) -> None:
    """Check that the student is spared something.

    Raises:
        DataError: all prompts are the same with and without what was to be dropped.
    """
    if saved(rendered).as_dict()["tokens_saved"] == 0:
        raise DataError(
            f"the prompts of all {len(rendered):,} rows are the same with and without the dropped part",
            "rows with a system turn, or text.system",
            "add the long prompt to the rows, or set train.objective: chat",
        )


def saved(rendered: Rendered) -> Saved:
    """Count the tokens of the prompts with and without the dropped part."""
    assert rendered.partner is not None
    return Saved(
        requests=len(rendered),
        with_prompt=_prompt_tokens(rendered.partner),
        without=_prompt_tokens(rendered),
    )


def _prompt_tokens(rendered: Rendered) -> int:
    return int((rendered.weights == 0).sum())


def _system(turns: Items[Message]) -> tuple[Message, ...]:
    return tuple(turn for turn in turns if turn.role in _SYSTEM_ROLES)


def _last_exchange(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the last question and what answers it."""
    asked = [place for place, turn in enumerate(turns) if turn.role == "user"]
    return turns[asked[-1] :] if asked else turns


def _by_row(rendered: Rendered) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for number, row_id in enumerate(rendered.row_ids):
        found[row_id].append(number)
    return found


def _require_same_answer(student: Rendered, teacher: Rendered, number: int) -> None:
    parts = []
    for side in (student, teacher):
        sequence = side.sequence(number)
        labels = np.flatnonzero(sequence.weights)
        parts.append((sequence.ids[labels], sequence.weights[labels]))
    if not all(np.array_equal(first, second) for first, second in zip(*parts, strict=True)):
        raise DataError(
            f"{student.sources[number]}: the answer has other tokens behind the long prompt than without it",
            "the same tokens",
            "name a chat template that writes answers alike (text.template)",
        )
