"""Which rows a step trains on, as a function of (seed, step) alone."""

from typing import NamedTuple, Protocol

import numpy as np

from metier.core import seeds
from metier.core.types import Sequence


class Numbered(Protocol):
    """Sequences by number, in memory or on disk."""

    def sequence(self, number: int) -> Sequence:
        """Return one sequence."""

    def __len__(self) -> int:
        """Return the number of sequences."""


class Ordered(Protocol):
    """Which rows each step trains on."""

    @property
    def steps(self) -> int:
        """Number of steps in the run."""

    def step(self, step: int) -> list[int]:
        """Return the row indices of a step."""

    def epoch(self, step: int) -> float:
        """Return how many epochs lie behind us after a step."""


class Curriculum(NamedTuple):
    """Training rows that stand in an order which means something: for so many `passes` they come in `parts`."""

    parts: int
    passes: int


class Order:
    """The sequence of rows a run sees: one permutation an epoch, each keyed by (seed, epoch).

    Under a curriculum the rows of the first epochs come part by part as they stand, shuffled inside each part.

    Args:
        rows: number of rows R.
        rows_per_step: rows in a step.
        total_rows: rows in the whole run; the last step may be smaller.
        seed: of the permutations.
        curriculum: of the rows; None: they stand in no order.
    """

    def __init__(
        self, rows: int, rows_per_step: int, total_rows: int, seed: int, *, curriculum: Curriculum | None = None
    ) -> None:
        self.rows = rows
        self.rows_per_step = rows_per_step
        self.total_rows = total_rows
        self.seed = seed
        self.curriculum = curriculum
        self._epoch = -1
        self._permutation = np.empty(0, dtype=np.int64)

    @property
    def steps(self) -> int:
        """Number of steps in the run."""
        return -(-self.total_rows // self.rows_per_step)

    def step(self, step: int) -> list[int]:
        """Return the row indices of a step."""
        start = step * self.rows_per_step
        end = min(start + self.rows_per_step, self.total_rows)
        return [self._at(place) for place in range(start, end)]

    def epoch(self, step: int) -> float:
        """Return how many epochs lie behind us after a step."""
        return min((step + 1) * self.rows_per_step, self.total_rows) / self.rows

    def _at(self, place: int) -> int:
        epoch, inside = divmod(place, self.rows)
        if epoch != self._epoch:
            self._permutation = self._drawn(epoch)
            self._epoch = epoch
        return int(self._permutation[inside])

    def _drawn(self, epoch: int) -> np.ndarray:
        """Return the rows of an epoch in order, int64 [rows]."""
        if self.curriculum is None or epoch >= self.curriculum.passes:
            return seeds.permutation(self.rows, "order", self.seed, epoch)
        parts = np.array_split(np.arange(self.rows), min(self.curriculum.parts, self.rows))
        places = (seeds.permutation(len(part), "order", self.seed, epoch, number) for number, part in enumerate(parts))
        return np.concatenate([part[place] for part, place in zip(parts, places, strict=True)])


class Beginning:
    """The first steps of an order, as a run of its own.

    Args:
        whole: the order.
        steps: how many.
    """

    def __init__(self, whole: Ordered, steps: int) -> None:
        self._whole = whole
        self.steps = min(steps, whole.steps)

    def step(self, step: int) -> list[int]:
        """Return the row indices of a step."""
        return self._whole.step(step)

    def epoch(self, step: int) -> float:
        """Return how many epochs lie behind us after a step."""
        return self._whole.epoch(step)
