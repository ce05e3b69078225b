"""What short runs may say about a learning rate: where the lowest loss lies, how sure that is, and what is doubted."""

import math

import numpy as np
import pytest

from metier.train.sweep import insist
from metier.train.sweep.auto import following
from metier.train.sweep.insist import Tried, best, insisted, interval

ROWS = 64
DOUBT = math.log(insist.FACTOR_OF_DOUBT, insist.FACTOR)


def bowl(middle: float, powers=(-1, 0, 1), *, noise: float = 0.0, seed: int = 0) -> dict[int, Tried]:
    """Losses that are lowest at a power; `noise` is of each row and each rate on its own."""
    random = np.random.default_rng(seed)
    common = random.gamma(2.0, 1.0, ROWS)  # rows differ much more from each other than rates do
    return {
        power: Tried(rows=common + (power - middle) ** 2 + noise * random.normal(size=ROWS), weight=float(ROWS))
        for power in powers
    }


@pytest.mark.parametrize("middle", [-0.4, 0.0, 0.3, 0.6, 0.9])
def test_the_lowest_loss_is_found_between_the_rates(middle):
    assert best(bowl(middle, (-1, 0, 1, 2))) == pytest.approx(middle)


def test_a_neighbour_that_failed_or_was_not_tried_bends_nothing():
    tried = bowl(0.3)
    assert best({power: tried[power] for power in (0, 1)}) == 0
    assert best(tried | {1: Tried(rows=np.array([]), weight=0.0, failed="a loss of nan")}) == 0


@pytest.mark.parametrize(("middle", "expected"), [(0.5, 0.0), (-0.6, 0.0), (2.0, 2 - DOUBT), (-1.4, -1.4 + DOUBT)])
def test_the_rule_is_left_by_what_goes_beyond_doubt(middle, expected):
    assert insisted(bowl(middle, range(-3, 4))) == pytest.approx(expected, abs=0.02)


def test_nothing_is_said_of_rates_beyond_those_tried():
    assert insisted(bowl(-1.4, (-1, 0, 1))) == pytest.approx(-1 + DOUBT)


def test_noise_leaves_the_rule_where_it_is():
    """Rows that say something else every time: of a hundred searches hardly one may believe them."""
    left = sum(
        insisted({power: Tried(rows=np.random.default_rng((seed, power + 9)).gamma(2.0, 1.0, ROWS), weight=ROWS)
                  for power in (-1, 0, 1)}) != 0
        for seed in range(100)
    )  # fmt: skip
    assert left <= 5


def test_rows_are_compared_in_pairs():
    """Between rows losses differ by more than between rates. The planted fault: rows of each rate in another order."""
    tried = bowl(2.0, (0, 1, 2, 3), noise=0.05)
    low, high = interval(tried)
    assert 1.9 < low < high < 2.1
    apart = {
        power: Tried(rows=np.random.default_rng(power).permutation(trial.rows), weight=trial.weight)
        for power, trial in tried.items()
    }
    assert interval(apart)[1] - interval(apart)[0] > 5 * (high - low)


def test_a_search_goes_on_to_the_side_where_the_loss_falls():
    for middle, order in ((0.2, [0, 1, -1]), (2.2, [0, 1, 2, 3]), (-2.1, [0, 1, -1, -2, -3])):
        whole, tried, power = bowl(middle, range(-5, 6)), {}, 0
        while power is not None:
            tried[power] = whole[power]
            power = following(tried)
        assert list(tried) == order


def test_where_the_rule_fails_a_lower_rate_is_tried():
    failed = Tried(rows=np.array([]), weight=0.0, failed="a loss of nan")
    assert following({0: failed}) == 1
    assert following({0: failed, 1: failed}) == -1
    tried = {0: failed, 1: failed, -1: bowl(-2.0, (-1,))[-1]}
    assert following(tried) == -2
    assert insisted(tried | bowl(-2.0, (-2, -3))) < -1
    assert insist.best(tried) == -1
