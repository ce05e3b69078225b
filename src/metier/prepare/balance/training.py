"""The training rows as they are written: which, in what order, how often, with what weight."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from metier.prepare.places import Places
from metier.prepare.spool import Spool
from metier.text.rows import line_of, renamed, row_of


@dataclass(slots=True, kw_only=True, eq=False)
class Training:
    """M lines of training rows.

    `numbers` int64 [M]: the row of the spool that each line is, in the order in which they are written. `repeats` int32
    [M]: 0 for the row itself, k for its k-th repetition. `weights` float64 [M]: what its own weight is multiplied by;
    None: nothing is. `facts`: what the manifest tells of it, None where nothing was asked for.
    """

    numbers: np.ndarray
    repeats: np.ndarray
    weights: np.ndarray | None = None
    facts: dict[str, Any] | None = None
    curriculum: Mapping[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def repeated(self) -> int:
        """Lines that repeat another line."""
        return int(np.count_nonzero(self.repeats))

    def lines(self, spool: Spool) -> Iterator[bytes]:
        """Yield the lines in order; repetitions get ids of their own, so that every number belongs to one line."""
        ids = _Ids(spool.places)
        weights = np.ones(len(self.numbers)) if self.weights is None else self.weights
        lines = spool.lines(self.numbers.tolist())
        columns = zip(self.numbers.tolist(), self.repeats.tolist(), weights.tolist(), strict=True)
        for line, (number, repeat, weight) in zip(lines, columns, strict=True):
            written = line if weight == 1.0 else _weighed(line, weight, spool)
            yield renamed(written, ids.of(number)) if repeat else written


def _weighed(line: bytes, weight: float, spool: Spool) -> bytes:
    """Return a line whose row weighs so many times what it did, in canonical form."""
    row = row_of(json.loads(line), spool.formats, "the spool")
    return line_of(replace(row, weight=row.weight * weight)).encode()


class _Ids:
    """Ids for repeated rows: the content's hash with the first number behind it that no row bears."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._last: Counter[str] = Counter()
        for number in np.flatnonzero(places.copies).tolist():
            content = self._content(number)
            self._last[content] = max(self._last[content], int(places.copies[number]))

    def of(self, number: int) -> str:
        """Return the id of one more repetition of a row."""
        content = self._content(number)
        self._last[content] += 1
        return f"{content}-{self._last[content]}"

    def _content(self, number: int) -> str:
        return self._places.ids[number].tobytes().hex()
