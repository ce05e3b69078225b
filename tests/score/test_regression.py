"""Errors of numbers against scipy's."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from metier.score import regression


def test_rank_correlation_is_spearmans_with_ties():
    random = np.random.default_rng(0)
    said, wanted = random.integers(0, 9, 50), random.integers(0, 5, 50)
    sums = regression.rank_columns(said, wanted).sum(axis=0)
    assert regression.correlation(sums) == pytest.approx(spearmanr(said, wanted).statistic)


def test_no_order_is_no_correlation():
    sums = regression.rank_columns(np.ones(5), np.arange(5)).sum(axis=0)
    assert regression.correlation(sums) == 0
    assert np.isnan(regression.correlation(np.zeros(6)))


def test_root_mean_square():
    assert regression.root_mean_square(np.array([[8.0, 2.0], [0.0, 0.0]])) == pytest.approx([2.0, np.nan], nan_ok=True)
