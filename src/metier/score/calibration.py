"""Do probabilities mean what they say? As sums over rows, so that they can be resampled. n = rows, B = bins."""

import numpy as np

BINS = 10
METRICS = ("brier", "ece")
"""What is measured of probabilities."""


def columns(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return float64 [n, 3 B]: for the bin of each row its confidence, whether it is right, and 1.

    Bins hold equally many rows: equally wide ones are empty where a sure model never goes.

    Args:
        confidence: float64 [n], the probability that the model gave its own answer.
        right: float64 [n], 1 where the answer is right.
    """
    edges = np.quantile(confidence, np.linspace(0, 1, BINS + 1)[1:-1]) if len(confidence) else np.zeros(BINS - 1)
    place = np.searchsorted(edges, confidence, side="right")
    table = np.zeros((len(confidence), 3 * BINS))
    rows = np.arange(len(confidence))
    table[rows, place], table[rows, BINS + place], table[rows, 2 * BINS + place] = confidence, right, 1.0
    return table


def expected_error(sums: np.ndarray) -> np.ndarray:
    """Return the expected calibration error (Naeini et al. 2015), [...] from sums [..., 3 B].

    That is Σ over bins |Σ confidence − Σ right| / n.
    """
    said, right, count = np.split(np.asarray(sums, dtype=np.float64), 3, axis=-1)
    rows = count.sum(axis=-1)
    return np.divide(np.abs(said - right).sum(axis=-1), rows, out=np.full(rows.shape, np.nan), where=rows > 0)


def brier(probabilities: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return Σ over classes (p − y)² for each row (G. W. Brier 1950), float64 [n].

    Args:
        probabilities: float64 [n, K].
        right: int64 [n], the right class.
    """
    wanted = np.zeros_like(probabilities)
    wanted[np.arange(len(right)), right] = 1
    return np.square(probabilities - wanted).sum(axis=1)
