"""What a model is asked when it learns from rewards: prompts as tokens, and what graders are shown of their rows."""

from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import Any

import numpy as np

from metier.core.errors import DataError
from metier.core.progress import Progress
from metier.core.types import Dropped, Row, Sequence
from metier.score.graders.places import Shown, shown
from metier.text import tasks
from metier.text.asking import prompt
from metier.text.render import Renderer, too_long
from metier.text.rendered import Rendered, columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A row that asks: its prompt as `ids` and as text, a right answer ("" without), the row's own columns, weight."""

    ids: tuple[int, ...]
    prompt: str
    reference: str
    item: dict[str, Any]
    row_id: str
    source: str
    weight: float = 1.0

    def shown(self, output: str) -> Shown:
        """Return what a grader sees of an answer."""
        return shown(self.prompt, self.reference, output, beside=self.item)


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """The rows of a split that can be asked, and those that cannot."""

    asked: tuple[Question, ...]
    dropped: tuple[Dropped, ...] = ()

    def rendered(self) -> Rendered:
        """Return the prompts as sequences without a label."""
        made = [
            Sequence(ids=np.array(each.ids, np.int32), weights=np.zeros(len(each.ids), np.float32), row_id=each.row_id,
                     source=each.source)
            for each in self.asked
        ]  # fmt: skip
        return columns(made, self.dropped)


def questions(rows: Items[Row], renderer: Renderer, *, room: int, progress: Progress) -> Questions:
    """Render the prompts of rows.

    Args:
        rows: of one split.
        renderer: renders.
        room: tokens that an answer may need behind a prompt; a prompt that leaves less is too long.
        progress: told of rows that are left out.

    Raises:
        DataError: there are rows, and not one can be asked.
    """
    tasks.require_prompts(rows)
    asked, dropped = list[Question](), list[Dropped]()
    for row in rows:
        found = _question(row, renderer, room)
        if isinstance(found, Dropped):
            dropped.append(found)
        else:
            asked.append(found)
    if dropped:
        first = dropped[0]
        told = f"{len(dropped):,} of {len(rows):,} rows cannot be asked (first: {first.source}: {first.detail})"
        if not asked:
            raise DataError(told, "prompts with room for an answer behind them", "lower max_new_tokens")
        progress.say(told)
    return Questions(asked=tuple(asked), dropped=tuple(dropped))


def _question(row: Row, renderer: Renderer, room: int) -> Question | Dropped:
    try:
        found = prompt(row, renderer)
    except DataError as error:
        return Dropped(source=row.source, reason="cannot be asked", detail=str(error))
    if len(found.ids) + room > renderer.limit:
        return too_long(row, len(found.ids) + room, renderer)
    item = {"source": row.source, "slice": row.slice, "group": row.group} | tasks.item(row)
    return Question(
        ids=tuple(found.ids), prompt=found.text, reference=found.reference, item=item, row_id=row.id,
        source=row.source, weight=row.weight,
    )  # fmt: skip
