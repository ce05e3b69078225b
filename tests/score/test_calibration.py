"""Calibration and Brier scores against their definitions."""

import numpy as np
import pytest

from metier.score import calibration


def test_a_calibrated_model_has_no_error_and_a_sure_one_that_is_often_wrong_has_much():
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1, 20_000)
    honest = (random.random(20_000) < confidence).astype(float)
    sums = calibration.columns(confidence, honest).sum(axis=0)
    assert calibration.expected_error(sums) < 0.02
    boastful = calibration.columns(np.full(100, 0.9), np.zeros(100)).sum(axis=0)
    assert calibration.expected_error(boastful) == pytest.approx(0.9)


def test_nothing_has_no_error():
    assert np.isnan(calibration.expected_error(np.zeros(3 * calibration.BINS)))
    assert calibration.columns(np.zeros(0), np.zeros(0)).shape == (0, 3 * calibration.BINS)


def test_brier():
    values = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]])
    assert calibration.brier(values, np.array([0, 0])) == pytest.approx([0.09 + 0.04 + 0.01, 2.0])
