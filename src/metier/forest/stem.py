"""A beginning that rows of many calls share: read once by a model that does not change, and kept from call to call."""

from collections.abc import Sequence as Many
from dataclasses import replace

import numpy as np
import torch

from metier.core.types import Sequence
from metier.forest.arrange import Arrangement, arrange, grouped
from metier.forest.cut import Item
from metier.forest.forest import Forest, Trunk
from metier.forest.grow import Above, grow, needed
from metier.text.census import common

_WORTH = 32
"""Tokens from which on a beginning is kept."""


class Stem:
    """Remembers what the rows of all calls began with, and hangs the rows of the next call from it.

    Rows that begin otherwise leave less of it; where that is too little it is forgotten, and the next one is what these
    rows share. So after a call or two it is what all rows of a run share: the long prompt.
    """

    def __init__(self) -> None:
        self._ids = np.empty(0, dtype=np.int32)
        self._trunk: Trunk | None = None

    def arrange(self, sequences: list[Sequence], budget: int) -> Arrangement:
        """Split sequences into forests of at most `budget` tokens beneath the same `Trunk` object as long as it serves.

        A sequence that has more tokens of its own gets a forest of its own. Rows that share too little are arranged as
        `arrange.arrange` does it.
        """
        shared = _shared(sequences)
        both = common(self._ids, shared)
        self._keep(shared[:both] if both >= _WORTH else shared)
        if self._trunk is None:
            return arrange(sequences, budget)
        top = Above(depth=len(self._ids), node=0)
        own = [max(0, needed(sequence) - top.depth) for sequence in sequences]
        groups = grouped([Item(sequences=(index,), tokens=tokens) for index, tokens in enumerate(own)], budget)
        return Arrangement(forests=tuple((group, self._beneath(sequences, group, top)) for group in groups))

    def _beneath(self, sequences: list[Sequence], group: Many[int], top: Above) -> Forest:
        return grow([sequences[index] for index in group], above=[top] * len(group), trunk=self._trunk)

    def _keep(self, ids: np.ndarray) -> None:
        if len(ids) < _WORTH:
            self._ids, self._trunk = ids[:0], None
        elif not np.array_equal(ids, self._ids):
            self._ids, self._trunk = ids, _trunk(ids)


def _shared(sequences: list[Sequence]) -> np.ndarray:
    """Return the tokens that all sequences with labels begin with, none of which predicts one."""
    labelled = [sequence for sequence in sequences if needed(sequence)]
    if not labelled:
        return np.empty(0, dtype=np.int32)
    found = labelled[0].ids[: min(int(np.flatnonzero(sequence.weights)[0]) for sequence in labelled) - 1]
    for sequence in labelled[1:]:
        found = found[: common(found, sequence.ids)]
    return found


def _trunk(ids: np.ndarray) -> Trunk:
    """Make a trunk of nothing but tokens."""
    weights = np.zeros(len(ids) + 1, dtype=np.float32)
    weights[-1] = 1
    grown = grow([Sequence(ids=np.append(ids, ids[-1:]), weights=weights, row_id="")])
    none = torch.empty(0, dtype=torch.int64)
    labels = {"source": none, "row": none, "token": none, "sequence": none, "own": none, "told": none, "held": none}
    forest = replace(grown, **labels, weight=torch.empty(0), last=none, lengths=(), label_pieces=(), sequences=())
    return Trunk(forest, (-1,), np.empty(0, dtype=np.int64))
