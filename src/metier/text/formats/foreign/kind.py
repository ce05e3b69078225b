"""What a module of this folder has to say: how its records look, and the plain rows that are in one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from metier.text.formats.names import FormatName

Values = Mapping[str, Any]
Columns = Mapping[str, str]
"""What a column is used as -> its name in the file."""


class Plain(NamedTuple):
    """One row in a format of our own, its columns called what they are for."""

    format: FormatName
    record: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A foreign format. `says` is what a person calls it; `roles` are columns that it needs, by their usual names.

    `translate` may raise `UnusableRow`; what it yields are rows of our own formats.
    """

    name: FormatName
    says: str
    fits: Callable[[Values, Columns], bool]
    translate: Callable[[Values, Columns], Iterable[Plain]]
    roles: Mapping[str, Sequence[str]] = field(default_factory=dict)


def chat(turns: Sequence[Mapping[str, Any]], **others: Any) -> Plain:
    """Return a conversation as a plain row; what is None is left out."""
    return Plain("chat", {"messages": list(turns)} | {name: value for name, value in others.items() if value})
