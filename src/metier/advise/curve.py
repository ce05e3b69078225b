"""A learning curve carried on: error = a + b · rows^(-c), with the uncertainty that the held-out rows leave.

P = points of the curve, n = held-out rows, S = resamples. The form is the usual one for learning curves (C. Cortes et
al. 1993); a, b and c are at least 0.
"""

from dataclasses import dataclass

import numpy as np

from metier.core import seeds
from metier.score.intervals import never_seen

_POWERS = np.linspace(0.05, 1.5, 30)
_RESAMPLES = 1000
_MOST_ROWS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The score expected with `rows` training rows, and its interval."""

    rows: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """Training rows that reach `target`: the median and the interval of the resamples.

    None where that quantile never reaches it. `reached` is the share of resamples that ever do.
    """

    target: float
    rows: int | None
    low: int | None
    high: int | None
    reached: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """Fitted curves, float64 [S, 3] as (a, b, c), the first that of the scores themselves; `asked` held-out rows.

    `base` is what was trained.
    """

    sizes: tuple[int, ...]
    means: tuple[float, ...]
    fitted: np.ndarray
    confidence: float
    asked: int
    base: str = ""

    def at(self, rows: int) -> Forecast:
        """Return what the curve expects with so many training rows."""
        a, b, c = self.fitted.T
        values = 1 - (a + b * float(rows) ** -c)
        low, high = np.quantile(values[1:], _edges(self.confidence))
        if high - low < 1e-9:  # rows that are all alike leave resampling no doubt, but us some
            half = never_seen(self.asked, self.confidence)
            low, high = max(0.0, low - half), min(1.0, high + half)
        return Forecast(rows=rows, value=float(values[0]), low=float(low), high=float(high))

    def needed(self, target: float) -> Needed:
        """Return how many training rows would reach a score."""
        a, b, c = self.fitted[1:].T
        room = (1 - target) - a
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            rows = np.where(room > 0, np.where(b > 0, (b / room) ** (1 / c), 1.0), np.inf)
        rows = np.where(rows > _MOST_ROWS, np.inf, rows)
        edges = _edges(self.confidence)
        low, middle, high = np.quantile(rows, [edges[0], 0.5, edges[1]], method="inverted_cdf")
        return Needed(
            target=target, rows=_whole(middle), low=_whole(low), high=_whole(high),
            reached=float(np.isfinite(rows).mean()),
        )  # fmt: skip


def fit(sizes: tuple[int, ...], scores: np.ndarray, *, confidence: float, base: str = "") -> Curve:
    """Fit the curve to the scores and to resamples of the held-out rows, the same rows at every point.

    Args:
        sizes: training rows of each point, [P], at least two of them different.
        scores: float64 [P, n] in [0, 1].
        confidence: of the intervals.
        base: what was trained.
    """
    count = scores.shape[1]
    picks = seeds.generator("learning curve", count).integers(0, count, size=(_RESAMPLES, count))
    errors = 1 - np.concatenate([scores.mean(axis=1)[None], scores[:, picks].mean(axis=2).T])
    return Curve(
        sizes=sizes,
        means=tuple(float(value) for value in scores.mean(axis=1)),
        fitted=_fitted(np.array(sizes, dtype=np.float64), errors),
        confidence=confidence,
        asked=count,
        base=base,
    )


def _fitted(sizes: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return the least-squares (a, b, c) of every row of errors [S, P], with c from a grid and a, b >= 0: [S, 3]."""
    best = np.zeros((len(errors), 3))
    least = np.full(len(errors), np.inf)
    for power in _POWERS:
        x = sizes**-power
        spread = x - x.mean()
        slope = np.maximum(0.0, errors @ spread / (spread @ spread))
        level = errors.mean(axis=1) - slope * x.mean()
        slope = np.where(level < 0, np.maximum(0.0, errors @ x / (x @ x)), slope)
        level = np.maximum(0.0, level)
        wrong = np.square(level[:, None] + slope[:, None] * x - errors).sum(axis=1)
        better = wrong < least - 1e-15
        best[better] = np.stack([level, slope, np.full(len(errors), power)], axis=1)[better]
        least = np.minimum(least, wrong)
    return best


def _edges(confidence: float) -> tuple[float, float]:
    return (1 - confidence) / 2, (1 + confidence) / 2


def _whole(rows: float) -> int | None:
    """Round up to two digits, as nobody knows more."""
    if not np.isfinite(rows):
        return None
    step = 10 ** max(0, int(np.floor(np.log10(max(rows, 1.0)))) - 1)
    return int(np.ceil(rows / step) * step)
