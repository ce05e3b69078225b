"""Lines that stand word for word in many inputs: found over the whole set, cut when `clean.remove` names them."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from metier.core.types import LabelledRow, Row
from metier.prepare.cleaning.texts import asked
from metier.prepare.decisions import Decision
from metier.prepare.spool import Spool

RULE = "clean.boilerplate"
_SAMPLE = 4000
_SHARE = 0.02
_MOST_SHARE = 0.9
_FEWEST_ROWS = 10
_SHORTEST = 12
"""Shorter lines (`Hello,` `Thanks!`) are how people talk."""


def remover(lines: Sequence[str]) -> Callable[[str], str]:
    """Return a repair that cuts these lines where they stand alone."""
    unwanted = {_plain(line) for line in lines}

    def removed(text: str) -> str:
        kept = [line for line in text.split("\n") if _plain(line) not in unwanted]
        return "\n".join(kept)

    return removed


class Boilerplate:
    """Flags rows with such lines.

    Lines are chosen on a sample of rows, where they stand in one of fifty or more; a line that almost every row has is
    a template, which is not for cleaning to judge.

    Args:
        several: bool [rows], those that ask something on several lines; only these are read.
    """

    def __init__(self, several: np.ndarray) -> None:
        self._several = several

    def decisions(self, spool: Spool) -> Iterator[Decision]:
        """Yield a flag for every row with such a line."""
        known = _frequent(spool, self._several)
        numbers = np.flatnonzero(self._several) if known else []
        for number, row in zip(numbers, spool.rows(numbers), strict=True):
            if (line := next((line for line in _lines(row) if line in known), None)) is not None:
                yield spool.decision(number, RULE, "flag", f"line in many inputs: {known[line]!r}")


def has_lines(row: Row) -> bool:
    """Tell whether what a row asks may stand on several lines."""
    return "\n" in asked(row) and not (isinstance(row, LabelledRow) and row.answer == "score")


def _frequent(spool: Spool, several: np.ndarray) -> dict[str, str]:
    """Return the frequent lines of a sample, as they are compared -> as they stand there."""
    numbers = np.unique(np.linspace(0, len(spool) - 1, min(_SAMPLE, len(spool)), dtype=np.int64))
    counts: Counter[str] = Counter()
    shown: dict[str, str] = {}
    for row in spool.rows(numbers[several[numbers]]):
        for plain, line in _lines(row).items():
            counts[plain] += 1
            shown.setdefault(plain, line if len(line) <= 80 else line[:79] + "…")
    fewest = max(_FEWEST_ROWS, _SHARE * len(numbers))
    return {line: shown[line] for line, count in counts.items() if fewest <= count <= _MOST_SHARE * len(numbers)}


def _lines(row: Row) -> dict[str, str]:
    """Return the lines of what a row asks, if there are several: as compared -> as they stand."""
    if not has_lines(row):
        return {}
    return {_plain(line): line.strip() for line in asked(row).split("\n") if len(line) >= _SHORTEST}


def _plain(line: str) -> str:
    return " ".join(line.casefold().split())
