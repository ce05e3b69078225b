"""Counts what rows become under a base: tokens of an epoch, rows too long, beginnings that are shared."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np

from metier.core.progress import Silent, Task
from metier.core.types import PreferenceRow, Row
from metier.text.preferences import paired, turned
from metier.text.render import Renderer
from metier.text.rendered import Rendering
from metier.text.rows import label_of

TOGETHER = 4096
"""Rows that are rendered at once."""

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
    sequence has too, over `sampled` sequences. `limit`: longest sequence. `both`: each row is two sequences, its better
    and its worse answer.
    """

    rows: int
    lengths: np.ndarray
    learnt: int
    lost: Mapping[str, Lost]
    labels: Mapping[str, int]
    shared: float
    sampled: int
    limit: int
    both: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of one epoch."""
        return int(self.lengths.sum(dtype=np.int64))


@dataclass(slots=True)
class Part:
    """What some rows that stand one after another become; of the sequences only a sample is kept."""

    rows: int
    learnt: int = 0
    lengths: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    labels: Counter[str] = field(default_factory=Counter)
    lost: dict[str, Counter[str]] = field(default_factory=dict)
    sources: dict[str, list[str]] = field(default_factory=dict)
    sample: list[np.ndarray] = field(default_factory=list)
    both: bool = False

    def join(self, later: "Part") -> None:
        """Add the rows behind, all but their lengths."""
        self.rows += later.rows
        self.learnt += later.learnt
        self.both |= later.both
        self.labels += later.labels
        self.sample += later.sample[: _SAMPLE - len(self.sample)]
        for reason, labels in later.lost.items():
            self.lost.setdefault(reason, Counter()).update(labels)
            shown = self.sources.setdefault(reason, [])
            shown += later.sources[reason][: _MOST_SOURCES - len(shown)]


def part_of(rows: list[Row], rendering: Rendering, first: int, every: int, *, both: bool = False) -> Part:
    """Render some rows and count.

    Args:
        rows: at most `TOGETHER`.
        rendering: by the base.
        first: how many rows stand before them.
        every: one sequence in so many is kept; of preferences those of one row in so many.
        both: preferences are learnt from both answers.

    Raises:
        DataError: rows of a kind that cannot be learnt.
    """
    rendered, together = rendering.of(rows, Silent()), 1
    if both and rows and all(isinstance(row, PreferenceRow) for row in rows):
        rendered, together = paired(rendered, rendering.of([turned(row) for row in rows], Silent())), 2
    part = Part(len(rows), int((rendered.weights > 0).sum()), rendered.lengths().astype(np.int32), both=together > 1)
    part.labels.update(label for row in rows if (label := label_of(row)) is not None)
    for item in rendered.dropped:
        part.lost.setdefault(item.reason, Counter())[item.label or ""] += 1
        shown = part.sources.setdefault(item.reason, [])
        if len(shown) < _MOST_SOURCES:
            shown.append(item.source)
    kept = range(-first % every, len(rendered) // together, every)
    numbers = (row * together + side for row in kept for side in range(together))
    part.sample = [rendered.sequence(number).ids.copy() for number in numbers]
    return part


def kept_of(total: int) -> int:
    """Return of how many sequences one is kept, for so many rows."""
    return max(1, total // _SAMPLE)


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
    stream, rendering = iter(rows), Rendering(renderer, total)
    chunks = iter(lambda: list(islice(stream, TOGETHER)), [])
    parts = (part_of(chunk, rendering, number * TOGETHER, kept_of(total)) for number, chunk in enumerate(chunks))
    return counted(parts, renderer.limit, task)


def counted(parts: Iterable[Part], limit: int, task: Task) -> Census:
    """Add parts up, in their order.

    Args:
        parts: of one split.
        limit: longest sequence.
        task: moves on by one a row.
    """
    whole, lengths = Part(0), [np.zeros(0, np.int32)]
    for part in parts:
        whole.join(part)
        lengths.append(part.lengths)
        task.advance(part.rows)
    lost = {
        reason: Lost(
            labels.total(), {name: count for name, count in labels.items() if name}, tuple(whole.sources[reason])
        )
        for reason, labels in whole.lost.items()
    }
    return Census(
        rows=whole.rows, lengths=np.concatenate(lengths), learnt=whole.learnt, lost=lost, labels=whole.labels,
        shared=shared_share(whole.sample), sampled=len(whole.sample), limit=limit, both=whole.both,
    )  # fmt: skip


def shared_share(sequences: list[np.ndarray]) -> float:
    """Return the part of all tokens that a trie of the sequences would not compute again, 0 to 1."""
    total = sum(map(len, sequences))
    order = sorted(sequences, key=lambda ids: ids.astype(">i4").tobytes())
    again = sum(common(first, second) for first, second in pairwise(order))
    return again / total if total else 0.0


def common(first: np.ndarray, second: np.ndarray) -> int:
    """Count the tokens that two sequences have in common at their start."""
    size = min(len(first), len(second))
    differs = np.flatnonzero(first[:size] != second[:size])
    return int(differs[0]) if len(differs) else size
