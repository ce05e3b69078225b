"""Draw units again and again, and sum what they hold. C = units, B = resamples, k = columns of one table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from metier.core import seeds

_SPARSE_BELOW_DENSITY = 0.1
_NUMBERS_AT_ONCE = 1 << 21


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How intervals are made: how many resamples, at which confidence, from which seed."""

    samples: int = 10_000
    confidence: float = 0.95
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Together:
    """Tables that concern the same units: their places among the tables, and their rows of these units alone.

    A slice of a twentieth of the units costs a twentieth of the arithmetic so.
    """

    units: np.ndarray | None
    places: tuple[int, ...]
    dense: np.ndarray
    thin: tuple[tuple[int, sparse.csr_array], ...]


def resample(tables: Sequence[np.ndarray], sampling: Sampling) -> list[np.ndarray]:
    """Return the sums of every table on every resample of its units, float64 [B, k] each; all see the same draws.

    Args:
        tables: float64 [C, k] each, with the same C; rows that are all zeros do not concern a table.
        sampling: how many resamples, from which seed.
    """
    if not tables:
        return []
    units = len(tables[0])
    groups = list(_grouped(tables))
    results = [np.empty((sampling.samples, table.shape[1])) for table in tables]
    step = max(1, _NUMBERS_AT_ONCE // units)
    for start in range(0, sampling.samples, step):
        size = min(step, sampling.samples - start)
        weights = _draw(units, size, sampling.seed, start)
        for group in groups:
            _fill(results, group, weights, start)
    return results


def _grouped(tables: Sequence[np.ndarray]) -> Iterator[_Together]:
    """Put tables that concern the same units together; those with few numbers in them are multiplied sparsely."""
    seen: dict[bytes, list[int]] = {}
    active = [np.any(table != 0, axis=1) for table in tables]
    for place, mask in enumerate(active):
        seen.setdefault(mask.tobytes(), []).append(place)
    for places in seen.values():
        mask = active[places[0]]
        units = None if mask.all() else np.flatnonzero(mask)
        rows = {place: tables[place] if units is None else tables[place][units] for place in places}
        thin = [p for p in places if np.count_nonzero(rows[p]) < _SPARSE_BELOW_DENSITY * rows[p].size]
        dense = [place for place in places if place not in thin]
        yield _Together(
            units=units,
            places=tuple(dense),
            dense=np.hstack([np.zeros((int(mask.sum()), 0)), *(rows[place] for place in dense)]),
            thin=tuple((place, sparse.csr_array(rows[place].T)) for place in thin),
        )


def _fill(results: Sequence[np.ndarray], group: _Together, weights: np.ndarray, start: int) -> None:
    """Write the sums of a group's tables on the resamples `weights`, float64 [b, C], from `start` on."""
    own = weights if group.units is None else weights[:, group.units]
    end = start + len(weights)
    sums, offset = own @ group.dense, 0
    for place in group.places:
        width = results[place].shape[1]
        results[place][start:end] = sums[:, offset : offset + width]
        offset += width
    for place, loose in group.thin:
        results[place][start:end] = (loose @ own.T).T


def _draw(units: int, samples: int, seed: int, start: int) -> np.ndarray:
    """Return how often each unit is drawn in each resample, float64 [samples, units]."""
    picks = seeds.generator("bootstrap", seed, start).integers(0, units, size=(samples, units))
    weights = np.empty((samples, units))
    for row, drawn in enumerate(picks):  # a resample at a time stays in the cache
        weights[row] = np.bincount(drawn, minlength=units)
    return weights
