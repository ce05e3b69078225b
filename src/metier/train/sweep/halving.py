"""Successive halving (Jamieson & Talwalkar 2016): where the rungs are, and who goes on from each."""

import math
from collections.abc import Mapping


def rung_steps(total: int, rungs: int, reduction: int) -> list[int]:
    """Return after how many steps of a run of `total` each rung is reached; the last is the end of the run."""
    return [math.ceil(total / reduction ** (rungs - 1 - rung)) for rung in range(rungs)]


def checks(rungs: int, reduction: int, wanted: int) -> int:
    """Return how many evenly spread checks of a run fall on every rung too: about as many as wanted."""
    finest = reduction ** (rungs - 1)
    return finest * max(1, round(wanted / finest))


def ranked(losses: Mapping[int, float]) -> list[int]:
    """Return the numbers of the trials that did not fail, best first."""
    return [number for loss, number in sorted((loss, number) for number, loss in losses.items() if math.isfinite(loss))]


def widths(trials: int, rungs: int, reduction: int) -> list[int]:
    """Return how many trials are to reach each rung: one in `reduction` of those before it, at least one."""
    return [math.ceil(trials / reduction**rung) for rung in range(rungs)]
