"""Optional dependencies: a missing one says which line installs it."""

import pytest

from metier.core import extras
from metier.core.errors import MissingExtraError


def test_what_is_installed_is_loaded():
    assert extras.missing("train") == ()
    extras.require("train")
    assert extras.load("json", "train").dumps([1]) == "[1]"


def test_what_is_missing_names_the_line_that_installs_it(monkeypatch):
    """The planted fault: an extra with a module that exists nowhere."""
    monkeypatch.setitem(extras.EXTRAS, "moon", ("json", "not_a_module_of_anybody"))
    assert extras.missing("moon") == ("not_a_module_of_anybody",)
    with pytest.raises(MissingExtraError) as caught:
        extras.load("json", "moon")
    assert str(caught.value) == (
        "not_a_module_of_anybody not installed; wanted: the extra 'moon'; do: pip install 'metier[moon]'"
    )
    assert caught.value.exit_code == 2


def test_every_extra_can_be_installed_by_its_name():
    from importlib.metadata import metadata

    assert set(extras.EXTRAS) <= set(metadata("metier").get_all("Provides-Extra") or ())
