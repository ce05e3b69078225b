"""Two models on the same rows: estimates, their difference and how sure we are. n = rows, k = columns, C = units.

A metric is a function of sums over rows (right answers / rows; nats / tokens; hits, false alarms, misses), so that
all metrics, slices and labels are resampled together by matrix products. A unit is what is drawn: a row, or a whole
group of rows (a user, a document) where groups exist, because rows of one group are not independent evidence.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import sparse

from metier.score import intervals, significance
from metier.score.resample import Sampling, resample

Statistic = Callable[[np.ndarray], np.ndarray]
"""Sums [..., k] -> values [...]; not-a-number where the sums hold nothing."""

Method = Literal["score", "t", "bootstrap", "none"]

_SCORE_BELOW_ROWS = 200
_T_BELOW_UNITS = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measure:
    """One metric of two models on the same rows.

    `first` and `second` are float64 [n, k]; a row that the metric does not concern is all zeros in both. `binary`
    says that it is a share of right rows with columns (right, concerned). `bounds` are those of the statistic.
    """

    name: str
    first: np.ndarray
    second: np.ndarray
    statistic: Statistic
    binary: bool = False
    bounds: tuple[float, float] = (-np.inf, np.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value and its interval, in the metric's own unit; not-a-number where there is nothing to measure."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """A metric of two models and its difference, second minus first.

    `units` is the number of independent draws (groups, or rows without groups), `error` the jackknife standard error of
    the difference. `gained` and `lost` count the rows that only the second or only the first model has right: None
    unless the metric is a share of single, independent rows. `p` says how likely a difference this large is between
    equal models: by McNemar's exact test of those rows, else by Student's t over the jackknife; None where unknown.
    """

    name: str
    first: Estimate
    second: Estimate
    difference: Estimate
    rows: int
    units: int
    method: Method
    alike: bool = False
    error: float = math.nan
    bounded: bool = False
    gained: int | None = None
    lost: int | None = None
    p: float | None = None

    @property
    def value(self) -> float:
        """The difference itself."""
        return self.difference.value

    @property
    def changes(self) -> tuple[int, int] | None:
        """Rows gained and lost; None unless the metric is a share of single, independent rows."""
        return None if self.gained is None or self.lost is None else (self.gained, self.lost)


def ratio(sums: np.ndarray) -> np.ndarray:
    """Return sums[..., 0] / sums[..., 1]: a mean over rows, or nats per token."""
    below = sums[..., 1]
    return np.divide(sums[..., 0], below, out=np.full(below.shape, np.nan), where=below > 0)


def exponential(sums: np.ndarray) -> np.ndarray:
    """Return exp(sums[..., 0] / sums[..., 1]): perplexity from nats and tokens; infinite when it is too large."""
    with np.errstate(over="ignore"):
        return np.exp(ratio(sums))


def share(name: str, first: np.ndarray, second: np.ndarray, concerned: np.ndarray | None = None) -> Measure:
    """Return the measure of a mean of values in [0, 1].

    Args:
        name: the metric's name.
        first: float or bool [n], the first model's value on each row.
        second: the same for the second model.
        concerned: bool [n], which rows count; all of them by default.
    """
    mask = np.ones(len(first), dtype=bool) if concerned is None else np.asarray(concerned, dtype=bool)
    columns = [np.stack([np.where(mask, values, 0.0), mask], axis=1).astype(np.float64) for values in (first, second)]
    binary = all(np.isin(table[:, 0], (0.0, 1.0)).all() for table in columns)
    return Measure(
        name=name, first=columns[0], second=columns[1], statistic=ratio, binary=bool(binary), bounds=(0.0, 1.0)
    )


def compare(measures: Sequence[Measure], *, groups: Sequence[str | None] | None, sampling: Sampling) -> list[Paired]:
    """Estimate every measure for both models and their difference, with intervals, from the same resamples.

    The interval is Wilson's and Tango's score interval for shares of fewer than 200 independent rows, Student's t over
    the jackknife for fewer than 100 units, and the BCa bootstrap over units otherwise.

    Args:
        measures: metrics on the same n rows.
        groups: the group of each row; None for a row that stands alone. None: no groups at all.
        sampling: resamples, confidence, seed.
    """
    if not measures:
        return []
    places = _units(groups, len(measures[0].first))
    clustered = int(places.max(initial=-1)) + 1 < len(places)
    gather = sparse.csr_array((np.ones(len(places)), (places, np.arange(len(places)))))
    tables = [gather @ np.hstack([measure.first, measure.second]) for measure in measures]
    active = [np.any(table != 0, axis=1) for table in tables]
    methods = [_method(measure, int(seen.sum()), clustered) for measure, seen in zip(measures, active, strict=True)]
    wanted = [index for index, method in enumerate(methods) if method == "bootstrap"]
    drawn = dict(zip(wanted, resample([tables[index] for index in wanted], sampling), strict=True))
    results = []
    for index, measure in enumerate(measures):
        table = tables[index][active[index]]
        single = measure.binary and not clustered
        results.append(_paired(measure, table, drawn.get(index), methods[index], single=single, sampling=sampling))
    return results


def _units(groups: Sequence[str | None] | None, rows: int) -> np.ndarray:
    """Return the unit of each row, int64 [n]: rows of one group share one, a row without group is its own."""
    known: dict[object, int] = {}
    names = groups if groups is not None else [None] * rows
    keys = [(row, None) if name is None else name for row, name in enumerate(names)]
    return np.array([known.setdefault(key, len(known)) for key in keys], dtype=np.int64)


def _method(measure: Measure, units: int, clustered: bool) -> Method:
    if units < 2:
        return "none"
    if measure.binary and not clustered and units < _SCORE_BELOW_ROWS:
        return "score"
    return "t" if units < _T_BELOW_UNITS else "bootstrap"


def _paired(
    measure: Measure, table: np.ndarray, drawn: np.ndarray | None, method: Method, *, single: bool, sampling: Sampling
) -> Paired:
    """Estimate one measure from the sums of its active units, [C, 2 k], and from its resampled sums."""
    width = table.shape[1] // 2
    statistic = measure.statistic

    def both(sums: np.ndarray) -> np.ndarray:
        first, second = statistic(sums[..., :width]), statistic(sums[..., width:])
        with np.errstate(invalid="ignore"):  # two infinite perplexities have no difference
            return np.stack([first, second, second - first])

    total = table.sum(axis=0)
    values = both(total)
    left_out = both(total - table) if method != "none" else np.empty((3, 0))
    resampled = both(drawn) if drawn is not None else np.empty((3, 0))
    span = measure.bounds[1] - measure.bounds[0]
    limits = (measure.bounds, measure.bounds, (-span, span))
    found = [
        _estimate(float(values[i]), left_out[i], resampled[i], method, limits=limits[i], sampling=sampling)
        for i in range(3)
    ]
    rows = int(np.any((measure.first != 0) | (measure.second != 0), axis=1).sum())
    result = Paired(
        name=measure.name, first=found[0], second=found[1], difference=found[2],
        rows=rows, units=len(table), method=method, alike=bool(np.array_equal(table[:, :width], table[:, width:])),
        error=_error(left_out[2]), bounded=measure.bounds[1] - measure.bounds[0] <= 1,
    )  # fmt: skip
    if single and len(table):
        return _as_rows(result, table, sampling.confidence)
    known = math.isfinite(result.error) and math.isfinite(result.value)
    return dataclasses.replace(result, p=significance.two_sided(result)) if known else result


def _error(left_out: np.ndarray) -> float:
    """Return the jackknife standard error of a difference from its values without each unit, float64 [C]."""
    return intervals.standard_error(left_out) if len(left_out) > 1 and np.isfinite(left_out).all() else math.nan


def _as_rows(result: Paired, table: np.ndarray, confidence: float) -> Paired:
    """Add what holds for single rows that are right or wrong: Wilson's intervals, McNemar's test, Tango's interval."""
    total = len(table)
    gained, lost = (int(((table[:, a] > 0) & (table[:, b] == 0)).sum()) for a, b in ((2, 0), (0, 2)))
    levels = []
    for column in (0, 2):
        right = float(table[:, column].sum())
        low, high = intervals.wilson(right, total, confidence)
        levels.append(Estimate(value=right / total, low=low, high=high))
    difference = result.difference
    if result.method == "score":
        low, high = intervals.score_difference(gained, lost, total, confidence)
        difference = Estimate(value=difference.value, low=low, high=high)
    return dataclasses.replace(
        result,
        first=levels[0],
        second=levels[1],
        difference=difference,
        gained=gained,
        lost=lost,
        p=intervals.mcnemar(gained, lost),
    )


def _estimate(
    value: float,
    left_out: np.ndarray,
    resampled: np.ndarray,
    method: Method,
    *,
    limits: tuple[float, float],
    sampling: Sampling,
) -> Estimate:
    """Put the interval of `method` around one value, within the limits of the statistic."""
    if method in ("none", "score") or not np.isfinite(value) or not np.isfinite(left_out).all():
        return Estimate(value=value, low=np.nan, high=np.nan)
    if np.ptp(left_out) < 1e-12 * max(1.0, abs(value)):
        bounded = np.isfinite(limits).all()
        half = intervals.never_seen(len(left_out), sampling.confidence) if bounded else 0.0
        low, high = value - half, value + half
    elif method == "t" or not np.isfinite(resampled).any():
        low, high = intervals.student(value, left_out, sampling.confidence)
    else:
        low, high = intervals.bootstrap(value, resampled, left_out, sampling.confidence)
    return Estimate(value=value, low=max(low, limits[0]), high=min(high, limits[1]))
