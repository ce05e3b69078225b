import numpy as np
import pytest

from metier.advise import curve


def rows_with(means: list[float], count: int = 400) -> np.ndarray:
    """Rows of which that share is right; what is right stays right at the later points."""
    return np.array([(np.arange(count) < round(mean * count)).astype(float) for mean in means])


def test_a_curve_of_its_own_form_is_found_and_carried_on():
    sizes = (100, 200, 400, 800)
    true = [1 - (0.05 + 3.0 * size**-0.5) for size in sizes]
    found = curve.fit(sizes, rows_with(true, 4000), confidence=0.95)
    ahead = found.at(3200)
    assert ahead.value == pytest.approx(1 - (0.05 + 3.0 * 3200**-0.5), abs=0.02)
    assert ahead.low < ahead.value < ahead.high
    needed = found.needed(0.9)
    assert needed.rows == pytest.approx(3600, rel=0.35)
    assert needed.low <= needed.rows


def test_a_flat_curve_never_gets_there_and_says_so():
    found = curve.fit((25, 50, 100), rows_with([0.6, 0.6, 0.6]), confidence=0.95)
    assert found.at(10_000).value == pytest.approx(0.6, abs=0.01)
    needed = found.needed(0.9)
    assert needed.rows is None
    assert needed.high is None
    assert needed.reached < 0.05


def test_fewer_rows_asked_leave_more_doubt():
    wide, narrow = (
        curve.fit((25, 50, 100), rows_with([0.4, 0.5, 0.6], count), confidence=0.95).at(400) for count in (40, 4000)
    )
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_rows_that_are_all_alike_leave_doubt():
    ahead = curve.fit((25, 50), rows_with([1.0, 1.0], 20), confidence=0.95).at(100)
    assert ahead.value == 1.0
    assert ahead.low == pytest.approx(0.83, abs=0.01)


def test_a_curve_that_falls_is_held_flat():
    found = curve.fit((25, 50, 100), rows_with([0.7, 0.6, 0.5]), confidence=0.9)
    assert found.at(1000).value == pytest.approx(0.6, abs=0.01)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    sizes, inside = (50, 100, 200), 0
    random = np.random.default_rng(1)
    truth = [1 - (0.1 + 2 * size**-0.5) for size in sizes]
    for _ in range(100):
        scores = np.array([random.random(200) < mean for mean in truth], dtype=float)
        now = curve.fit(sizes, scores, confidence=0.9).at(200)
        inside += now.low <= truth[-1] <= now.high
    assert inside >= 80
