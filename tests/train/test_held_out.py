"""Validation rows at checks: a small part of the run, the same ones every time, and as set."""

from metier.train.batches import Order
from metier.train.held_out import loss_rows
from metier.train.settings import TrainSettings


def chosen(rows, steps, **settings):
    """Return what is measured of so many validation rows in a run of steps of 16 rows."""
    order = Order(9 * rows + 16, 16, 16 * steps, seed=0)
    return loss_rows(TrainSettings.model_validate(settings), rows, order)


def test_all_checks_cost_at_most_a_tenth_of_the_run():
    for steps in (220, 300, 500):
        found = chosen(1000, steps)
        assert 64 < found.value < 256
        assert 0.09 < 10 * found.value / (3 * 16 * steps) <= 0.1
        assert "tenth" in found.reason
    assert chosen(1000, 220, checks=5).value > chosen(1000, 220).value
    assert chosen(1000, 220, check={"steps": 11}).value < chosen(1000, 220).value, "twenty checks instead of ten"


def test_long_runs_measure_enough_rows_and_short_ones_no_fewer_than_tell_something():
    assert chosen(1000, 10_000).value == 256
    assert chosen(1000, 3).value == 64
    assert chosen(50, 3).value == 50
    assert chosen(0, 3).value == 0


def test_as_set_whatever_the_run_is():
    assert chosen(1000, 3, check={"loss_rows": 900}).value == 900
    assert chosen(500, 3, check={"loss_rows": 900}).value == 500
