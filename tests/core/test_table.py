"""A name is looked up; a miss says which one was probably meant."""

import pytest

from metier.core.errors import SettingsError
from metier.core.table import find, nearest

TABLE = {"cosine": 1, "linear": 2, "constant": 3}


def test_a_known_name_is_found():
    assert find(TABLE, "linear", "schedule") == 2


def test_a_near_miss_names_the_nearest_and_all():
    with pytest.raises(SettingsError) as caught:
        find(TABLE, "cosin", "schedule")
    assert str(caught.value) == (
        "schedule 'cosin' is unknown; wanted: one of constant, cosine, linear; do: did you mean 'cosine'?"
    )


def test_a_wide_miss_guesses_nothing():
    with pytest.raises(SettingsError) as caught:
        find(TABLE, "zzz", "schedule")
    assert caught.value.do == ""
    assert nearest("zzz", TABLE) is None
    assert nearest("", TABLE) is None
    assert nearest("x", []) is None
