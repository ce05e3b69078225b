"""Names of versions: what can be one, and that none leads out of its folder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.core import registry
from metier.core.errors import InputError


def test_numbers_and_aliases_are_told_apart() -> None:
    assert registry.parse("support@7") == ("support", 7)
    assert registry.parse("support-2.1@production") == ("support-2.1", "production")


@pytest.mark.parametrize(
    "reference",
    ["support", "support@", "@7", "support@0", "support@07", "Support@7", "../x@7", "a/b@7", "a@../7", "a@b@c", "-a@1",
     "a" * 65 + "@1", "a@" + "b" * 65, "a@\n", "a@1\n", "a@²"],
)  # fmt: skip
def test_what_is_no_version_is_refused(reference: str) -> None:
    with pytest.raises(InputError):
        registry.parse(reference)


@given(st.text(max_size=80))
def test_no_name_leads_out_of_the_store(text: str) -> None:
    store = Path("/store")
    try:
        name, which = registry.parse(text)
    except InputError:
        return
    path = registry.at(store, name, 1 if isinstance(which, str) else which).path
    assert path.parent.parent == store / "versions"
    assert ".." not in path.parts


def test_what_is_not_there_is_said_with_what_is(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("METIER_DATABASE", raising=False)
    with pytest.raises(InputError, match="support@1: no such version; wanted: one of: none yet"):
        registry.find(tmp_path, "support@1")
    with pytest.raises(InputError, match="support@production: no such alias"):
        registry.find(tmp_path, "support@production")
    assert registry.listed(tmp_path) == []
