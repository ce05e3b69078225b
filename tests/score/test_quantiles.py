import math

import numpy as np
import pytest

from metier.score.prices import PriceSettings
from metier.score.quantiles import quantile


def test_the_value_is_one_of_the_values():
    values = list(range(1, 101))
    found = [quantile(values, share, 0.95).value for share in (0.5, 0.95, 0.99)]
    assert found == [50, 95, 99]
    assert quantile([3.0], 0.5, 0.95) == quantile([3.0], 0.5, 0.5)


@pytest.mark.parametrize(("share", "least"), [(0.95, 72), (0.99, 368)])
def test_too_few_values_leave_the_upper_end_open(share, least):
    assert math.isinf(quantile(range(least - 1), share, 0.95).high)
    assert math.isfinite(quantile(range(least), share, 0.95).high)


@pytest.mark.parametrize(("share", "count"), [(0.5, 30), (0.95, 200), (0.99, 500)])
def test_intervals_hold_the_truth_as_often_as_they_say_however_long_the_tail(share, count):
    random, held = np.random.default_rng(5), 0
    for _ in range(600):
        values = random.lognormal(0.0, 1.5, count)
        found = quantile(values.tolist(), share, 0.95)
        truth = float(np.exp(1.5 * _normal(share)))
        held += found.low <= truth <= found.high
    assert 0.94 <= held / 600 <= 1.0


def _normal(share: float) -> float:
    return {0.5: 0.0, 0.95: 1.6448536269514722, 0.99: 2.3263478740408408}[share]


def test_prices_add_up_and_none_is_no_zero():
    by_token = PriceSettings(input=2.0, output=10.0)
    assert by_token.cost(sent=500, received=100, seconds=9) == pytest.approx(1000 * (500 * 2 + 100 * 10) / 1e6)
    assert by_token.cost(sent=500, received=100, seconds=9, by_token=False) is None
    both = PriceSettings(input=2.0, output=10.0, hour=3.6)
    assert both.cost(sent=500, received=100, seconds=2) == pytest.approx(2.0 + 2.0)
    assert PriceSettings(input=2.0).cost(sent=1, received=1, seconds=1) is None
