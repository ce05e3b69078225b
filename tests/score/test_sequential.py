"""Bounds that are looked at after every row still hold as often as they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from metier.score.intervals import newcombe, wilson
from metier.score.sequential import difference, share

COUNTS = some.integers(0, 3000).flatmap(lambda total: some.tuples(some.integers(0, total), some.just(total)))


@settings(deadline=None)
@given(COUNTS, some.sampled_from([0.8, 0.95, 0.999]))
def test_a_share_lies_within_its_bounds(counts: tuple[int, int], confidence: float) -> None:
    right, total = counts
    low, high = share(right, total, confidence)
    assert 0 <= low <= (right / total if total else 0.5) <= high <= 1
    wide = share(right, total, 0.9999)
    assert wide[0] <= low + 1e-12
    assert high <= wide[1] + 1e-12


def test_bounds_are_those_that_were_worked_out_by_hand() -> None:
    assert share(0, 0, 0.95) == (0, 1)
    # nothing right in 9: p is believed while (1 - p)^9 > 0.05 / 10
    assert share(0, 9, 0.95) == pytest.approx((0, 1 - 0.005 ** (1 / 9)))
    assert share(9, 9, 0.95) == pytest.approx((0.005 ** (1 / 9), 1))
    low, high = share(500, 1000, 0.95)
    assert wilson(500, 1000, 0.95)[0] - low == pytest.approx(high - wilson(500, 1000, 0.95)[1], abs=1e-6)
    assert 0.05 < high - 0.5 < 0.06


def looks(probability: float, count: int, runs: int, seed: int) -> np.ndarray:
    """Return how many were right up to each row, int64 [runs, count]."""
    return np.cumsum(np.random.default_rng(seed).random((runs, count)) < probability, axis=1)


def test_bounds_hold_at_all_moments_at_once_where_ordinary_ones_do_not() -> None:
    moments, runs, missed, ordinary = range(9, 400, 10), 200, 0, 0
    for row in looks(0.8, 400, runs, 1):
        missed += any(
            not share(int(row[n]), n + 1, 0.95)[0] <= 0.8 <= share(int(row[n]), n + 1, 0.95)[1] for n in moments
        )
        ordinary += any(not wilson(row[n], n + 1, 0.95)[0] <= 0.8 <= wilson(row[n], n + 1, 0.95)[1] for n in moments)
    assert missed / runs <= 0.05
    assert ordinary / runs > 0.15


def test_equal_shares_are_hardly_ever_told_apart_and_unequal_ones_are() -> None:
    same, other, worse = (looks(p, 800, 100, seed) for p, seed in ((0.9, 2), (0.9, 3), (0.7, 4)))
    moments = range(19, 800, 20)

    def told_apart(first: np.ndarray, second: np.ndarray) -> float:
        def below(one: np.ndarray, two: np.ndarray) -> bool:
            return any(difference((int(one[n]), n + 1), (int(two[n]), n + 1), 0.95)[1] < 0 for n in moments)

        return float(np.mean([below(one, two) for one, two in zip(first, second, strict=True)]))

    assert told_apart(same, other) <= 0.05
    assert told_apart(same, worse) >= 0.95
    low, high = difference((90, 100), (80, 100), 0.95)
    plain = newcombe((90, 100), (80, 100), 0.95)
    assert low < plain[0] < plain[1] < high
