"""Which split each row has, what was dropped on the way, and what there is to say about it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from metier.core.types import Dropped, Reasoned
from metier.prepare.candidate import Role
from metier.prepare.places import ROLES, Places

SPLITS: tuple[Role, ...] = ROLES
RULE = "split"
"""What drops rows here, in the decision file."""

TRAIN, VALIDATION, TEST = range(3)
NONE = -1


class Gone(NamedTuple):
    """Rows that were dropped for one reason: their numbers, what to say, and the row that each is like (-1: none)."""

    numbers: np.ndarray
    reason: str
    detail: str
    others: np.ndarray | None = None
    rule: str = RULE


@dataclass(slots=True, eq=False)
class Division:
    """The outcome: `splits` int8 [rows], a place in `SPLITS` or -1 (dropped); the drops, and what there is to say."""

    splits: np.ndarray
    gone: list[Gone] = field(default_factory=list)
    choices: list[Reasoned] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def drop(self, gone: Gone) -> None:
        """Take rows out of their splits."""
        if len(gone.numbers):
            self.splits[gone.numbers] = NONE
            self.gone.append(gone)

    def dropped(self, places: Places) -> Iterator[Dropped]:
        """Yield what was dropped, row by row."""
        for entry in self.gone:
            others = entry.others if entry.others is not None else np.full(len(entry.numbers), -1)
            for number, other in zip(entry.numbers.tolist(), others.tolist(), strict=True):
                place = places[number]
                detail = entry.detail + (f" {places.source(other)}" if other >= 0 else "")
                yield Dropped(
                    source=place.source, reason=entry.reason, detail=detail, label=place.label, rule=entry.rule,
                    row_id=place.id,
                )  # fmt: skip
