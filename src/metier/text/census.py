"""Counts what rows become under a base: tokens of an epoch, rows too long, beginnings that are shared."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np

from metier.core.progress import Silent, Task
from metier.core.types import Row
from metier.text.render import Renderer
from metier.text.rendered import Rendered, render_rows
from metier.text.rows import label_of

_TOGETHER = 4096
_SAMPLE = 2000
_MOST_SOURCES = 20


class Lost(NamedTuple):
    """Rows that give no sequence: how many, of which labels, and some of their places."""

    rows: int
    labels: Mapping[str, int]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Census:
    """What rows become.

    `lengths` int32 [sequences]: tokens of each. `learnt`: tokens that the loss is taken on. `lost`: rows without a
    sequence by reason. `labels`: rows by label. `shared`: part of the tokens that stand in a beginning which another
    sequence has too, over `sampled` sequences. `limit`: longest sequence.
    """

    rows: int
    lengths: np.ndarray
    learnt: int
    lost: Mapping[str, Lost]
    labels: Mapping[str, int]
    shared: float
    sampled: int
    limit: int

    @property
    def tokens(self) -> int:
        """Tokens of one epoch."""
        return int(self.lengths.sum(dtype=np.int64))


@dataclass(slots=True)
class _Counting:
    """A census while rows come in; of the sequences only a sample is kept."""

    every: int
    rows: int = 0
    learnt: int = 0
    lengths: list[np.ndarray] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)
    lost: dict[str, Counter[str]] = field(default_factory=dict)
    sources: dict[str, list[str]] = field(default_factory=dict)
    sample: list[np.ndarray] = field(default_factory=list)

    def add(self, rows: list[Row], rendered: Rendered) -> None:
        self.labels.update(label for row in rows if (label := label_of(row)) is not None)
        self.lengths.append(rendered.lengths().astype(np.int32))
        self.learnt += int((rendered.weights > 0).sum())
        for item in rendered.dropped:
            self.lost.setdefault(item.reason, Counter())[item.label or ""] += 1
            shown = self.sources.setdefault(item.reason, [])
            if len(shown) < _MOST_SOURCES:
                shown.append(item.source)
        for number in range(-self.rows % self.every, len(rendered), self.every):
            if len(self.sample) < _SAMPLE:
                self.sample.append(rendered.sequence(number).ids.copy())
        self.rows += len(rows)


def census(rows: Iterable[Row], renderer: Renderer, *, total: int, task: Task) -> Census:
    """Render rows a few thousand at a time and count; in memory stay four bytes a sequence.

    Args:
        rows: any number of them.
        renderer: of the base.
        total: how many rows there are.
        task: moves on by one a row.

    Raises:
        DataError: rows of a kind that cannot be learnt.
    """
    counting, stream = _Counting(every=max(1, total // _SAMPLE)), iter(rows)
    while part := list(islice(stream, _TOGETHER)):
        counting.add(part, render_rows(part, renderer, Silent()))
        task.advance(len(part))
    lost = {
        reason: Lost(
            labels.total(), {name: count for name, count in labels.items() if name}, tuple(counting.sources[reason])
        )
        for reason, labels in counting.lost.items()
    }
    return Census(
        rows=counting.rows,
        lengths=np.concatenate([np.zeros(0, np.int32), *counting.lengths]),
        learnt=counting.learnt,
        lost=lost,
        labels=counting.labels,
        shared=shared_share(counting.sample),
        sampled=len(counting.sample),
        limit=renderer.limit,
    )


def shared_share(sequences: list[np.ndarray]) -> float:
    """Return the part of all tokens that a trie of the sequences would not compute again, 0 to 1."""
    total = sum(map(len, sequences))
    order = sorted(sequences, key=lambda ids: ids.astype(">i4").tobytes())
    again = sum(_common(first, second) for first, second in pairwise(order))
    return again / total if total else 0.0


def _common(first: np.ndarray, second: np.ndarray) -> int:
    """Count the tokens that two sequences have in common at their start."""
    size = min(len(first), len(second))
    differs = np.flatnonzero(first[:size] != second[:size])
    return int(differs[0]) if len(differs) else size
