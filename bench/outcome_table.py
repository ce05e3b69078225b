"""From answers right and wrong to accuracies with intervals, and our distance to each peer on the same rows."""

import statistics
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from metier.score.intervals import never_seen

OURS = "metier"
_SAMPLES = 10_000


def as_markdown(lines: list[dict[str, Any]]) -> str:
    """Return a table: one line for each data set, base, budget and contender, over all of its seeds."""
    rows = [
        "| data | base | budget s | contender | seconds | steps | accuracy (95 %) | each seed | metier is better by |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    ordered = sorted(lines, key=_setting)
    for setting, group in groupby(ordered, key=_setting):
        contenders: dict[str, list[dict[str, Any]]] = {}
        for line in group:
            contenders.setdefault(line["training"]["contender"], []).append(line)
        ours = _table(contenders[OURS]) if OURS in contenders else None
        rows += [_row(setting, name, entries, ours) for name, entries in contenders.items()]
    note = (
        "Accuracy: greedy answers that are the label, mean over seeds; intervals by resampling the test rows together "
        f"with the seeds ({_SAMPLES:,} times). Differences are paired by row."
    )
    return "\n".join([*rows, "", note])


def interval(table: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the mean of a table [seeds, rows]: percentiles, both resampled.

    Where every entry is alike resampling sees no doubt at all; there it is what as many rows cannot exclude.
    """
    random = np.random.default_rng(0)
    seeds, rows = table.shape
    if table.min() == table.max():
        unseen = never_seen(rows, 0.95)
        return float(table.min() - unseen), float(table.max() + unseen)
    means = [
        table[random.integers(0, seeds, seeds)].mean(axis=0)[random.integers(0, rows, rows)].mean()
        for _ in range(_SAMPLES)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _setting(line: dict[str, Any]) -> tuple[str, str, float]:
    training = line["training"]
    return training["data"], training["base"], training["budget"]


def _table(entries: Iterable[dict[str, Any]]) -> np.ndarray:
    """Return 0 and 1, float64 [seeds, rows], seeds in order."""
    ordered = sorted(entries, key=lambda line: line["training"]["seed"])
    return np.array([[float(mark) for mark in line["right"]] for line in ordered])


def _row(setting: tuple[str, str, float], name: str, entries: list[dict[str, Any]], ours: np.ndarray | None) -> str:
    table = _table(entries)
    data, base, budget = setting
    figures = [
        data,
        base,
        f"{budget:.0f}",
        name,
        f"{statistics.mean(entry['seconds'] for entry in entries):.0f}",
        f"{statistics.mean(entry['steps'] for entry in entries):.0f}",
        f"{_percent(table.mean())} ({_bounds(np.clip(interval(table), 0, 1))})",
        ", ".join(_percent(value) for value in table.mean(axis=1)),
        _difference(ours, table) if name != OURS else "",
    ]
    return "| " + " | ".join(figures) + " |"


def _difference(ours: np.ndarray | None, theirs: np.ndarray) -> str:
    if ours is None or ours.shape != theirs.shape:
        return ""
    difference = ours - theirs
    return f"{100 * difference.mean():+.1f} ({_bounds(interval(difference), sign='+')})"


def _bounds(bounds: Sequence[float] | np.ndarray, sign: str = "") -> str:
    low, high = (f"{100 * bound:{sign}.1f}" for bound in bounds)
    return f"{low} to {high}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
