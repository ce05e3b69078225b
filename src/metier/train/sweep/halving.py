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


def survivors(losses: Mapping[int, float], reduction: int) -> list[int]:
    """Return the numbers of the trials that go on, best first: one in `reduction`, at least one that did not fail."""
    standing = sorted((loss, number) for number, loss in losses.items() if math.isfinite(loss))
    return [number for _, number in standing[: math.ceil(len(losses) / reduction)]]
