"""Find fixed text that stands behind a variable part in most rows: moved to the front, it would be computed once."""

from collections.abc import Sequence as Many
from dataclasses import dataclass, replace

import numpy as np

from metier.core.types import Sequence
from metier.forest.arrange import arrange

_GRAM = 16
"""Tokens that must agree before a place counts as shared."""
_MOST_ROWS = 0.8
"""Share of the rows that must hold the fixed text."""
WORTH = 1.15
"""How many times cheaper an epoch must become for it to be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Misplaced:
    """Fixed text of `tokens` behind a variable part; `cheaper`: how many times fewer tokens an epoch would compute."""

    tokens: int
    cheaper: float

    def said(self) -> str:
        """Say it to a person."""
        return (
            f"your template puts a variable part before {self.tokens:,} tokens of fixed text; "
            f"move it to the end and an epoch costs {self.cheaper:.1f}× less"
        )


def misplaced(sequences: Many[Sequence], budget: int) -> Misplaced | None:
    """Look for the longest block that most rows share behind something variable.

    Args:
        sequences: the rows of a step or more.
        budget: most tokens computed at once.

    Returns:
        None: no such block, or moving it is worth less than 1.15×.
    """
    if len(sequences) < 4:
        return None
    block = _block(sequences)
    if block is None:
        return None
    moved = [_moved(sequence, block) for sequence in sequences]
    cheaper = arrange(list(sequences), budget).computed / arrange(moved, budget).computed
    return Misplaced(tokens=len(block), cheaper=cheaper) if cheaper > WORTH else None


def _block(sequences: Many[Sequence]) -> np.ndarray | None:
    """Return the longest run of tokens without labels that most rows hold, not all of them at the same beginning."""
    counts: dict[bytes, int] = {}
    for sequence in sequences:
        for gram in {gram for _, gram in _grams(sequence)}:
            counts[gram] = counts.get(gram, 0) + 1
    least = _MOST_ROWS * len(sequences)
    beginning = _common_beginning(sequences)
    best: tuple[int, int] = (0, 0)
    first = sequences[0]
    start = None
    grams = _grams(first)
    for place, gram in (*grams, (len(grams), b"")):
        common = counts.get(gram, 0) >= least and place >= beginning
        if common and start is None:
            start = place
        if not common and start is not None:
            best = max(best, (place - 1 + _GRAM - start, start))
            start = None
    length, start = best
    return first.ids[start : start + length] if length else None


def _grams(sequence: Sequence) -> list[tuple[int, bytes]]:
    end = int(np.flatnonzero(sequence.weights)[0]) if sequence.weights.any() else len(sequence)
    ids = np.ascontiguousarray(sequence.ids[:end], dtype=np.int32)
    return [(place, ids[place : place + _GRAM].tobytes()) for place in range(end - _GRAM + 1)]


def _common_beginning(sequences: Many[Sequence]) -> int:
    shortest = min(len(sequence) for sequence in sequences)
    together = np.stack([sequence.ids[:shortest] for sequence in sequences])
    different = np.flatnonzero((together != together[0]).any(axis=0))
    return int(different[0]) if len(different) else shortest


def _moved(sequence: Sequence, block: np.ndarray) -> Sequence:
    """Return a row with the block at its front; a row without it as it is."""
    needle = block.astype(np.int32).tobytes()
    place = np.ascontiguousarray(sequence.ids, dtype=np.int32).tobytes().find(needle)
    if place < 0 or place % 4:
        return sequence
    start = place // 4
    order = np.r_[start : start + len(block), 0:start, start + len(block) : len(sequence)]
    return replace(sequence, ids=sequence.ids[order], weights=sequence.weights[order])
