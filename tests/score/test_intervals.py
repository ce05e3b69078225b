import numpy as np
import pytest
from scipy.stats import binomtest, norm

from metier.score import intervals


@pytest.mark.parametrize(("right", "total"), [(0, 10), (10, 10), (3, 10), (61, 98), (1, 1), (250, 1000)])
def test_wilson_equals_scipy(right: int, total: int) -> None:
    wanted = binomtest(right, total).proportion_ci(0.95, method="wilson")
    assert intervals.wilson(right, total, 0.95) == pytest.approx((wanted.low, wanted.high))


def test_wilson_stays_within_shares_and_keeps_its_ends() -> None:
    assert intervals.wilson(0, 30, 0.95)[0] == 0
    assert intervals.wilson(30, 30, 0.95)[1] == 1


@pytest.mark.parametrize(("gained", "lost", "p"), [(0, 0, 1.0), (5, 5, 1.0), (6, 0, 2 / 64), (1, 9, 22 / 1024)])
def test_mcnemar_is_the_exact_binomial(gained: int, lost: int, p: float) -> None:
    assert intervals.mcnemar(gained, lost) == pytest.approx(p)


def test_score_difference_is_where_the_score_test_stops_rejecting() -> None:
    gained, lost, rows = 10, 3, 40
    low, high = intervals.score_difference(gained, lost, rows, 0.95)
    for edge, sign in ((low, 1), (high, -1)):
        grid = np.linspace(0, (1 - abs(edge)) / 2, 20_001)[1:-1]
        likelihood = gained * np.log(grid + max(edge, 0)) + lost * np.log(grid + max(-edge, 0))
        likelihood += (rows - gained - lost) * np.log(1 - 2 * grid - abs(edge))
        smaller = float(grid[np.argmax(likelihood)])
        score = (gained - lost - rows * edge) / np.sqrt(rows * (2 * smaller + abs(edge) - edge * edge))
        assert score == pytest.approx(sign * norm.ppf(0.975), abs=2e-3)


def test_score_difference_mirrors_and_holds_the_difference() -> None:
    low, high = intervals.score_difference(9, 2, 50, 0.95)
    assert intervals.score_difference(2, 9, 50, 0.95) == pytest.approx((-high, -low))
    assert -1 <= low < 7 / 50 < high <= 1
    nothing = intervals.score_difference(0, 0, 50, 0.95)
    assert nothing[0] == pytest.approx(-nothing[1])
    assert 0.05 < nothing[1] < 0.1


def test_student_of_a_mean_is_the_textbook_interval() -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0])
    left_out = (values.sum() - values) / 3
    low, high = intervals.student(values.mean(), left_out, 0.95)
    half = 3.182446 * values.std(ddof=1) / 2
    assert (low, high) == pytest.approx((4 - half, 4 + half))


def test_bootstrap_of_a_normal_mean_is_close_to_student_and_skips_what_is_not_a_number() -> None:
    random = np.random.default_rng(0)
    values = random.standard_normal(60)
    resampled = values[random.integers(0, 60, (20_000, 60))].mean(axis=1)
    resampled[:50] = np.nan
    left_out = (values.sum() - values) / 59
    found = intervals.bootstrap(values.mean(), resampled, left_out, 0.95)
    assert found == pytest.approx(intervals.student(values.mean(), left_out, 0.95), abs=0.02)


def test_bootstrap_follows_a_bias() -> None:
    """A statistic whose resamples all lie above it (as its resamples are biased) gets an interval moved down."""
    left_out = np.linspace(-0.01, 0.01, 50)
    resampled = np.random.default_rng(0).standard_normal(5_000)
    plain = intervals.bootstrap(0.0, resampled, left_out, 0.95)
    moved = intervals.bootstrap(-0.5, resampled, left_out, 0.95)
    assert moved[0] < plain[0]
    assert moved[1] < plain[1]


def test_never_seen_is_the_binomial_bound() -> None:
    assert binomtest(0, 30).proportion_ci(0.95, method="exact").high == pytest.approx(intervals.never_seen(30, 0.95))


def test_newcombe_as_published() -> None:
    """The example of Newcombe (1998), table II: 56/70 against 48/80, method 10."""
    low, high = intervals.newcombe((48, 80), (56, 70), 0.95)
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)
    low, high = intervals.newcombe((0, 10), (0, 20), 0.95)
    assert low < 0 < high
