"""Finds texts that are far longer than the others, by their own spread."""

from collections.abc import Iterator

import numpy as np

from metier.prepare.cleaning.glance import Looked
from metier.prepare.decisions import Action, Decision
from metier.prepare.spool import Spool

RULE = "clean.lengths"
_DEVIATIONS = 6.0
_FEWEST_TIMES = 8.0
_NARROWEST = 0.2
_FEWEST_ROWS = 30


class Lengths:
    """Judges rows by how long what is asked and what is answered is, in characters.

    Far longer is: six robust standard deviations of the logarithm above the median (which is where one in a billion
    would be), and eight times the median.

    Args:
        looked: what was told of all rows.
        drops: whether such rows are dropped.
    """

    def __init__(self, looked: Looked, *, drops: bool) -> None:
        self._lengths = looked.lengths
        self._action: Action = "drop" if drops else "flag"

    def decisions(self, spool: Spool) -> Iterator[Decision]:
        """Yield the rows that are far longer."""
        for side, what in enumerate(("input", "answer")):
            lengths = self._lengths[:, side]
            known = lengths[lengths > 0]
            if len(known) < _FEWEST_ROWS:
                continue
            limit, middle = _limit(known)
            for number in np.flatnonzero(lengths > limit):
                detail = f"{lengths[number]:,} characters; half of them have {middle:,.0f} or fewer"
                yield spool.decision(number, RULE, self._action, f"{what} far longer than the others", detail)


def _limit(lengths: np.ndarray) -> tuple[float, float]:
    """Return the length above which a text is far longer, and the median."""
    logs = np.log(lengths)
    middle = float(np.median(logs))
    spread = max(1.4826 * float(np.median(np.abs(logs - middle))), _NARROWEST)
    return float(np.exp(middle)) * max(_FEWEST_TIMES, float(np.exp(_DEVIATIONS * spread))), float(np.exp(middle))
