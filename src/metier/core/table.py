"""Look a name up among known names; a miss says which one was probably meant."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

from metier.core.errors import SettingsError

Value = TypeVar("Value")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like `name`, or None when none is close."""
    matches = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def find(table: Mapping[str, Value], name: str, what: str) -> Value:
    """Return `table[name]`.

    Args:
        table: the known names and what they stand for.
        name: the name to look up.
        what: what the names are, for the message ("schedule", "method").

    Raises:
        SettingsError: the name is not in the table; lists the known names and the nearest.
    """
    if name in table:
        return table[name]
    close = nearest(name, table)
    raise SettingsError(
        f"{what} {name!r} is unknown",
        "one of " + ", ".join(sorted(table)),
        f"did you mean {close!r}?" if close else "",
    )
