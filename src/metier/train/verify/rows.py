"""The rows that are looked at: a few, cut to a length without losing what they share; and one with a secret in it.

Shapes: T = tokens of a row.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass, replace

import numpy as np

from metier.core import seeds
from metier.core.errors import DataError
from metier.core.types import Sequence
from metier.text.rendered import Rendered


def choose(rendered: Rendered, count: int, tokens: int, *, together: int = 1) -> list[Sequence]:
    """Return the sequences of at most `count` rows with labels, evenly spread, each of at most `tokens` tokens.

    Args:
        rendered: all rows.
        count: of rows.
        tokens: of a sequence; see `cut`.
        together: sequences of a row, which stand side by side.

    Raises:
        DataError: fewer than two rows have labels.
    """
    firsts = range(0, len(rendered), together)
    labelled = [first for first in firsts if rendered.sequence(first).weights.any()]
    if len(labelled) < 2:
        raise DataError(f"{len(labelled)} training rows with something to learn", "at least two", "add rows")
    count = min(count, len(labelled))
    places = [labelled[place * len(labelled) // count] for place in range(count)]
    return [cut(rendered.sequence(place + side), tokens) for place in places for side in range(together)]


def cut(row: Sequence, tokens: int) -> Sequence:
    """Take tokens out of the middle: the beginning, which others share, and the last labels stay.

    Where the same answer stands behind another prompt, both are cut, and what one of them has lost is learnt in none.
    """
    if row.partner is None:
        return _cut(row, tokens)
    sides = [_cut(side, tokens) for side in (row, row.partner)]
    common = min(int((side.weights != 0).sum()) for side in sides)
    own, partner = (_last(side, common) for side in sides)
    return replace(own, partner=partner)


def _cut(row: Sequence, tokens: int) -> Sequence:
    if len(row) <= tokens:
        return row
    end = int(np.flatnonzero(row.weights)[-1]) + 1
    tail = min(tokens // 2, end)
    head = min(tokens - tail, end - tail)
    kept = np.concatenate([np.arange(head), np.arange(end - tail, end)])
    weights = row.weights[kept].copy()
    weights[0] = 0
    return replace(row, ids=row.ids[kept], weights=weights)


def _last(row: Sequence, labels: int) -> Sequence:
    """Return a row that learns its last labels only."""
    weights = row.weights.copy()
    places = np.flatnonzero(weights)
    weights[places[: len(places) - labels]] = 0
    return replace(row, weights=weights)


def columns(rows: Many[Sequence]) -> Rendered:
    """Return rows as a run reads them, with what a head is to say and what a teacher sees."""
    targets = [row.target for row in rows if row.target is not None]
    partners = [row.partner for row in rows if row.partner is not None]
    return Rendered(
        ids=np.concatenate([row.ids for row in rows]),
        weights=np.concatenate([row.weights for row in rows]),
        offsets=np.cumsum([0, *(len(row) for row in rows)]).astype(np.int64),
        row_ids=tuple(row.row_id for row in rows),
        sources=tuple(row.source for row in rows),
        targets=np.stack(targets) if targets else None,
        partner=columns(partners) if partners else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """Rows of which the one at `place` has a secret where no other row looks, from token `start` on."""

    rows: list[Sequence]
    place: int
    start: int


def plant(rows: Many[Sequence], vocabulary: int) -> Planted | None:
    """Change the private tokens of the row that has most of them; None: no row has two.

    Its first private token stays: it decides where the row stands among the others, and only what a row says may
    change here, not where anything is computed.
    """
    starts = [
        1 + max(_common(row, other) for place, other in enumerate(rows) if place != here)
        for here, row in enumerate(rows)
    ]
    place = max(range(len(rows)), key=lambda here: len(rows[here]) - starts[here])
    row, start = rows[place], starts[place]
    if len(row) <= start:
        return None
    secret = row.ids.copy()
    shift = seeds.generator("secret", len(row)).integers(1, vocabulary, len(row) - start)
    secret[start:] = (secret[start:] + shift) % vocabulary
    changed = [*rows[:place], replace(row, ids=secret.astype(row.ids.dtype)), *rows[place + 1 :]]
    return Planted(rows=changed, place=place, start=start)


def _common(first: Sequence, second: Sequence) -> int:
    shorter = min(len(first), len(second))
    different = np.flatnonzero(first.ids[:shorter] != second.ids[:shorter])
    return int(different[0]) if len(different) else shorter
