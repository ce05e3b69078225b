"""One number that makes probabilities mean what they say: logits are divided by a temperature (Guo et al. 2017).

The order of the answers stays as it is, so nothing that was right becomes wrong. n = rows, K = answers on offer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from metier.score import calibration

_LOW, _HIGH = np.log(0.05), np.log(20.0)
_STEPS = 60
_GOLDEN = (5**0.5 - 1) / 2
_RESAMPLES, _DRAWS = 1000, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A number of all rows with its 95 % interval over resampled rows."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What a temperature does. Before and after are of rows that the temperature was not fitted on.

    `temperature`: fitted on all rows; 1 where it does not help. `error`: expected calibration error; `error_by_chance`:
    what it is on average for so many rows where every probability means what it says. `loss`: mean negative
    log-probability of the right answer, nats; `gain`: by how much it falls from before to after.
    """

    temperature: float
    rows: int
    error_before: float
    error_after: float
    error_by_chance: float
    loss_before: float
    loss_after: float
    gain: Told


def shares(logs: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return probabilities [..., K] of logits or log-probabilities [..., K]."""
    scaled = np.asarray(logs, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def losses(logs: np.ndarray, right: np.ndarray, temperature: float) -> np.ndarray:
    """Return −log p of the right answer for each row, float64 [n], of logs [n, K] and right int64 [n]."""
    scaled = np.asarray(logs, np.float64) / temperature
    highest = scaled.max(axis=1)
    total = highest + np.log(np.exp(scaled - highest[:, None]).sum(axis=1))
    return total - scaled[np.arange(len(right)), right]


def best(logs: np.ndarray, right: np.ndarray) -> float:
    """Return the temperature of least loss between 1/20 and 20, by golden sections of its logarithm.

    The loss has one minimum in the inverse temperature, so sections find it.
    """
    low, high = float(_LOW), float(_HIGH)
    for _ in range(_STEPS):
        width = _GOLDEN * (high - low)
        left, other = high - width, low + width
        if losses(logs, right, np.exp(left)).mean() <= losses(logs, right, np.exp(other)).mean():
            high = other
        else:
            low = left
    return float(np.exp((low + high) / 2))


def fit(logs: np.ndarray, right: np.ndarray, groups: Sequence[str]) -> Fit:
    """Fit a temperature and judge it on rows that it was not fitted on, half by half.

    Args:
        logs: logits or log-probabilities of the answers on offer, float [n, K].
        right: place of the right answer, int64 [n].
        groups: rows of one group stay in one half.
    """
    half = _halves(groups)
    cooled = np.ones(len(right))
    for one in (False, True):
        if (half == one).any() and (half != one).any():
            cooled[half == one] = best(logs[half != one], right[half != one])
    before, after = losses(logs, right, 1.0), losses(logs / cooled[:, None], right, 1.0)
    gain = _told(lambda weights: weights @ (before - after) / weights.sum(axis=1), len(right))
    helps = gain.low > 0
    return Fit(
        temperature=best(logs, right) if helps else 1.0,
        rows=len(right),
        error_before=_error(shares(logs), right),
        error_after=_error(shares(logs / cooled[:, None]), right),
        error_by_chance=_by_chance(shares(logs / cooled[:, None]).max(axis=1)),
        loss_before=float(before.mean()),
        loss_after=float(after.mean()),
        gain=gain,
    )


def _halves(groups: Sequence[str]) -> np.ndarray:
    """Deal groups out to two halves in the order in which they come, bool [n]."""
    places: dict[str, int] = {}
    return np.array([places.setdefault(group, len(places)) % 2 == 1 for group in groups], dtype=bool)


def _error(probabilities: np.ndarray, right: np.ndarray) -> float:
    """Return the expected calibration error of the answers given."""
    held = (probabilities.argmax(axis=1) == right).astype(np.float64)
    return float(calibration.expected_error(calibration.columns(probabilities.max(axis=1), held).sum(axis=0)))


def _by_chance(confidence: np.ndarray) -> float:
    """Return the mean calibration error of answers that are right as often as they say, float64 [n]."""
    random = np.random.default_rng(0)
    held = (random.random((_DRAWS, len(confidence))) < confidence).astype(np.float64)
    errors = [calibration.expected_error(calibration.columns(confidence, row).sum(axis=0)) for row in held]
    return float(np.mean(errors))


def _told(number: Callable[[np.ndarray], np.ndarray], rows: int) -> Told:
    """Return a number of rows weighed [B, n], and its interval over resampled rows."""
    drawn = np.random.default_rng(0).multinomial(rows, np.full(rows, 1 / rows), size=_RESAMPLES).astype(np.float64)
    low, high = np.quantile(number(drawn), (0.025, 0.975))
    return Told(value=float(number(np.ones((1, rows)))[0]), low=float(low), high=float(high))
