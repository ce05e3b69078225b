"""Which rows a step trains on, as a function of (seed, step) alone, and how they are split into model calls."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from metier.core import seeds
from metier.core.types import Sequence
from metier.forest.pack import Batch, bins, pack


class Numbered(Protocol):
    """Sequences by number, in memory or on disk."""

    def sequence(self, number: int) -> Sequence:
        """Return one sequence."""


class Order:
    """The sequence of rows a run sees: one permutation an epoch, each keyed by (seed, epoch).

    Args:
        rows: number of rows R.
        rows_per_step: rows in a step.
        total_rows: rows in the whole run; the last step may be smaller.
        seed: of the permutations.
    """

    def __init__(self, rows: int, rows_per_step: int, total_rows: int, seed: int) -> None:
        self.rows = rows
        self.rows_per_step = rows_per_step
        self.total_rows = total_rows
        self.seed = seed
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
            self._permutation = seeds.permutation(self.rows, "order", self.seed, epoch)
            self._epoch = epoch
        return int(self._permutation[inside])


def micro_batches(rendered: Numbered, rows: list[int], budget_tokens: int) -> Iterator[tuple[list[int], Batch]]:
    """Split rows into packed batches of at most `budget_tokens`; yields (row indices, batch)."""
    sequences = [rendered.sequence(row) for row in rows]
    for content in bins([cost(sequence) for sequence in sequences], budget_tokens):
        yield [rows[index] for index in content], pack([sequences[index] for index in content])


def cost(sequence: Sequence) -> int:
    """Return how many tokens a sequence costs at once: its own, or those of a longer partner."""
    return max(len(sequence), 0 if sequence.partner is None else len(sequence.partner))
