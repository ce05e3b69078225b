"""A temperature undoes what was done to logits, is judged on unseen rows, and leaves well enough alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from metier.score.temperature import best, fit, losses, shares


def answers(rows: int, sharpened: float, seed: int = 0, kinds: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Return logits of a model that is too sure by a factor, and answers drawn from what it should have said."""
    random = np.random.default_rng(seed)
    honest = random.normal(0, 1.5, (rows, kinds))
    drawn = [random.choice(kinds, p=row) for row in shares(honest)]
    return honest * sharpened, np.array(drawn)


@pytest.mark.parametrize("sharpened", [0.4, 2.5, 6.0])
def test_it_finds_how_much_too_sure_a_model_is(sharpened: float) -> None:
    logs, right = answers(3000, sharpened)
    found = fit(logs, right, [str(row) for row in range(3000)])
    assert found.temperature == pytest.approx(sharpened, rel=0.1)
    assert found.error_after < 2 * found.error_by_chance < 0.06 < found.error_before
    assert found.loss_after < found.loss_before
    assert (shares(logs, found.temperature).argmax(axis=1) == logs.argmax(axis=1)).all()


def test_a_model_that_is_right_about_itself_is_left_alone_in_most_draws() -> None:
    found = [fit(*answers(150, 1.0, seed), [str(row) for row in range(150)]).temperature for seed in range(40)]
    assert sum(temperature == 1.0 for temperature in found) >= 36


def test_it_is_judged_on_rows_that_it_was_not_fitted_on() -> None:
    draws = [answers(14, 2.0, seed) for seed in range(20)]
    seen = [losses(logs, right, best(logs, right)).mean() for logs, right in draws]
    unseen = [fit(logs, right, [str(row) for row in range(14)]).loss_after for logs, right in draws]
    assert np.mean(unseen) > np.mean(seen)
    logs, right = draws[0]
    same = fit(logs, right, ["one"] * 14)  # nothing is left to judge on
    assert (same.temperature, same.loss_after) == (1.0, same.loss_before)


@settings(deadline=None, max_examples=25)
@given(some.integers(0, 1000), some.floats(0.2, 5))
def test_no_other_temperature_has_less_loss(seed: int, other: float) -> None:
    logs, right = answers(60, 2.0, seed)
    assert losses(logs, right, best(logs, right)).mean() <= losses(logs, right, other).mean() + 1e-9
