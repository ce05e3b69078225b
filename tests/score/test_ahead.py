"""How many rows will be needed, against simulation: what is promised is what a test then finds."""

import numpy as np
import pytest

from metier.score.ahead import difference_shown_by, rows_for
from metier.score.intervals import mcnemar


@pytest.mark.parametrize(("difference", "changing"), [(0.1, 0.2), (0.2, 0.3), (0.25, 0.5)])
def test_so_many_rows_find_the_difference_four_times_in_five(difference, changing):
    rng, rows = np.random.default_rng(7), rows_for(difference, changing=changing)
    gain, loss = (changing + difference) / 2, (changing - difference) / 2
    drawn = rng.multinomial(rows, [gain, loss, 1 - changing], size=1500)

    def found(counts: np.ndarray) -> float:
        gains, losses = counts[:, 0].astype(float), counts[:, 1].astype(float)
        total = np.maximum(gains + losses, 1)
        return float(np.mean((gains - losses) / np.sqrt(total) > 1.96))  # McNemar's test without its correction

    assert found(drawn) == pytest.approx(0.8, abs=0.1)
    half = rng.multinomial(rows // 2, [gain, loss, 1 - changing], size=1500)
    assert found(half) < 0.7  # with half of the rows the promise is broken


def test_more_rows_show_less():
    shown = [difference_shown_by(rows) for rows in (5, 20, 100, 1000)]
    assert shown == sorted(shown, reverse=True)
    assert difference_shown_by(rows_for(0.1)) == 0.1
    assert difference_shown_by(1) is None
    assert mcnemar(5, 0) > 0.05  # five rows that all change the same way prove nothing


def test_a_narrower_error_needs_more_rows():
    assert rows_for(0.1, confidence=0.99) > rows_for(0.1) > rows_for(0.1, power=0.5)
