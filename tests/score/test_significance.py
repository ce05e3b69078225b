"""One-sided tests, equivalence, adjustments for many looks; error rates by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy.stats import ttest_1samp

from metier.score import significance
from metier.score.resample import Sampling
from metier.score.stats import Measure, Paired, compare, ratio, share

FAST = Sampling(samples=200)


def binary(first: np.ndarray, second: np.ndarray, groups: list[str] | None = None) -> Paired:
    return compare([share("accuracy", first, second)], groups=groups, sampling=FAST)[0]


def graded(values: np.ndarray) -> Paired:
    """A second model that differs from a first one by `values`."""
    zeros, ones = np.zeros(len(values)), np.ones(len(values))
    measure = Measure(
        name="loss", first=np.stack([zeros, ones], axis=1), second=np.stack([values, ones], axis=1), statistic=ratio
    )
    return compare([measure], groups=None, sampling=FAST)[0]


def test_a_mean_is_tested_as_students_test_does() -> None:
    values = np.random.default_rng(0).normal(0.1, 1, 80)
    found = graded(values)
    assert found.p == pytest.approx(ttest_1samp(values, 0).pvalue)
    assert significance.above(found, 0.05) == pytest.approx(ttest_1samp(values, 0.05, alternative="greater").pvalue)
    assert significance.below(found, 0.2) == pytest.approx(ttest_1samp(values, 0.2, alternative="less").pvalue)


def test_equivalence_needs_both_sides_and_a_margin_wide_enough() -> None:
    found = graded(np.random.default_rng(1).normal(0, 1, 400))
    assert significance.equivalence(found, 0.3) < 0.01
    assert significance.equivalence(found, 0.02) > 0.2
    assert significance.equivalence(found, 0.3) == max(significance.above(found, -0.3), significance.below(found, 0.3))


def test_not_worse_looks_at_one_side_only() -> None:
    much_better = graded(np.random.default_rng(2).normal(1, 1, 200))
    assert significance.equivalence(much_better, 0.1) > 0.99
    assert significance.not_worse(much_better, 0.1, higher_is_better=True) < 1e-6
    assert significance.not_worse(much_better, 0.1, higher_is_better=False) > 0.99


def test_equal_answers_prove_no_more_than_their_number_can() -> None:
    same = np.ones(50, bool)
    found = binary(same, same, groups=[str(row // 2) for row in range(50)])
    assert significance.equivalence(found, 0.01) == pytest.approx(0.99**25)
    assert significance.equivalence(found, 0.2) < 0.05


@pytest.mark.parametrize("rows", [40, 150, 500])
def test_the_error_rate_of_non_inferiority_is_what_it_says(rows: int) -> None:
    """A model that is worse by exactly the margin passes in at most 5 % of evaluations (sampling error allowed)."""
    random = np.random.default_rng(rows)
    passed = 0
    for _ in range(600):
        kind = random.choice(3, rows, p=[0.10, 0.05, 0.85])
        found = binary(kind == 0, kind == 1)
        passed += significance.not_worse(found, 0.05, higher_is_better=True) <= 0.05
    assert passed / 600 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)


def test_holm_by_hand() -> None:
    assert significance.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_benjamini_hochberg_by_hand() -> None:
    assert significance.benjamini_hochberg([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])


@given(some.lists(some.floats(0, 1), min_size=1, max_size=30))
def test_adjusted_values_keep_their_order_and_only_grow(values: list[float]) -> None:
    for adjust in (significance.holm, significance.benjamini_hochberg):
        found = adjust(values)
        assert all(after >= before - 1e-12 for before, after in zip(values, found, strict=True))
        assert max(found) <= 1
        order = np.argsort(values, kind="stable")
        assert np.all(np.diff(np.array(found)[order]) >= -1e-12)
    assert all(
        h >= b - 1e-12 for h, b in zip(significance.holm(values), significance.benjamini_hochberg(values), strict=True)
    )


def test_twenty_gates_without_a_fault_raise_a_false_alarm_in_one_of_twenty_evaluations_at_most() -> None:
    random = np.random.default_rng(20)
    alarms = np.array([min(significance.holm(random.random(20).tolist())) <= 0.05 for _ in range(2000)])
    naive = np.mean(random.random((2000, 20)).min(axis=1) <= 0.05)
    assert alarms.mean() <= 0.065
    assert naive > 0.6


def test_the_smallest_detectable_difference_is_found_four_times_out_of_five() -> None:
    random = np.random.default_rng(4)
    least = significance.smallest_detectable(graded(random.normal(0, 1, 200)), confidence=0.95)
    assert least is not None
    seen = [(graded(random.normal(least, 1, 200)).p or 1) <= 0.05 for _ in range(300)]
    assert 0.7 < np.mean(seen) < 0.9


def test_no_spread_no_detectable_difference() -> None:
    assert significance.smallest_detectable(graded(np.zeros(50)), confidence=0.95) is None
