"""Finds rows that ask the same and have different labels."""

from collections.abc import Iterator

import numpy as np

from metier.prepare.cleaning.glance import Looked
from metier.prepare.decisions import Action, Decision
from metier.prepare.duplicates.clusters import equal_runs
from metier.prepare.spool import Spool

RULE = "clean.conflicts"
REASON = "the same input has another label elsewhere"


class Conflicts:
    """Compares inputs, whatever their case and space.

    Args:
        looked: what was told of all rows.
        drops: whether all rows of a conflict are dropped.
    """

    def __init__(self, looked: Looked, *, drops: bool) -> None:
        self._inputs = looked.inputs
        self._action: Action = "drop" if drops else "flag"

    def decisions(self, spool: Spool) -> Iterator[Decision]:
        """Yield every row of a conflict, with another place and its label."""
        numbers = np.flatnonzero(self._inputs)
        order = numbers[np.argsort(self._inputs[numbers], kind="stable")]
        for begin, end in equal_runs(self._inputs[order]):
            yield from self._of_one_input(spool, order[begin:end])

    def _of_one_input(self, spool: Spool, same: np.ndarray) -> Iterator[Decision]:
        labels = spool.places.labels[same]
        for number, label in zip(same, labels, strict=True):
            others = same[labels != label]
            if len(others):
                ours, theirs = (spool.places.label_names[spool.places.labels[row]] for row in (number, others[0]))
                detail = f"{ours!r} here, {theirs!r} in {spool.places.source(others[0])}"
                yield spool.decision(number, RULE, self._action, REASON, detail)
