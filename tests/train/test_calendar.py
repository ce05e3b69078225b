"""When checks, answers, ends of epochs and checkpoints fall: the days of a run, as its settings say."""

from metier.train.batches import Order
from metier.train.calendar import Calendar
from metier.train.settings import TrainSettings


def days(told, steps=10, **settings):
    """Return after which of `steps` steps of a run of five steps an epoch something is due."""
    calendar = Calendar(Order(20, 4, 4 * steps, seed=0), TrainSettings.model_validate(settings))
    return [done for done in range(1, steps + 1) if getattr(calendar, told)(done)]


def test_checks_are_spread_evenly_and_the_last_is_at_the_end():
    assert days("is_check", checks=3) == [4, 7, 10]
    assert days("is_check", checks=100, steps=3) == [1, 2, 3], "no more checks than steps"


def test_checks_every_so_many_steps_and_at_the_end():
    assert days("is_check", check={"steps": 4}) == [4, 8, 10]
    assert days("is_check", check={"steps": 1000}) == [10]


def test_an_epoch_that_is_kept_is_checked_where_it_ends():
    assert days("ends_epoch") == []
    assert days("ends_epoch", check={"keep_epochs": 1}) == [5, 10]
    assert days("is_check", checks=1, check={"keep_epochs": 1}) == [5, 10]
    assert days("is_check", check={"keep_epochs": 1, "steps": 1000}) == [10], "unless the steps of checks are set"


def test_answers_are_counted_from_the_last_check():
    assert days("is_answered", checks=10, check={"every": 3}) == [1, 4, 7, 10]


def test_a_checkpoint_at_every_check_and_every_so_many_steps():
    assert days("is_published", checks=1) == [10]
    assert days("is_published", checks=1, checkpoint_every=4) == [4, 8, 10]
    assert days("is_published", check={"keep_epochs": 2, "steps": 1000}) == [5, 10]
