"""Errors of numbers as functions of sums over rows, so that they can be resampled. n = rows."""

import numpy as np


def rank_columns(said: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return float64 [n, 6]: the centred ranks x and y of both, x², y², x·y and 1; ties share their mean rank.

    Ranks are those among all n rows, also where rows are drawn again: exact for the value, close for its interval.
    """
    # here because every training imports this file and few rank: scipy.stats takes half a second and 22 MB
    from scipy.stats import rankdata

    x, y = (rankdata(values) - (len(values) + 1) / 2 for values in (said, wanted))
    return np.stack([x, y, x * x, y * y, x * y, np.ones(len(x))], axis=1)


def correlation(sums: np.ndarray) -> np.ndarray:
    """Return the correlation [...] of sums [..., 6] as in `rank_columns`; 0 where one side never changes."""
    x, y, xx, yy, xy, count = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    rows = np.maximum(count, 1)
    both = xy - x * y / rows
    spread = np.sqrt(np.maximum(xx - x * x / rows, 0) * np.maximum(yy - y * y / rows, 0))
    value = np.divide(both, spread, out=np.zeros_like(both), where=spread > 1e-12)
    return np.where(count > 0, np.clip(value, -1, 1), np.nan)


def root_mean_square(sums: np.ndarray) -> np.ndarray:
    """Return the root of the mean of squares, [...] from sums [..., 2] of (square, 1)."""
    count = sums[..., 1]
    mean = np.divide(sums[..., 0], count, out=np.full(count.shape, np.nan), where=count > 0)
    return np.sqrt(np.maximum(mean, 0))
