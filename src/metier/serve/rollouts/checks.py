"""Checks that a program can make of every answer, without knowing the right one; imports no torch."""

import re
from dataclasses import dataclass
from typing import Literal

from metier.core.errors import InputError
from metier.score import structured

_MOST = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What an answer must be.

    `kind`: `json` (an object or array, nothing around it), `one_of` some values, or `matches` a regular expression,
    which must cover all of it.
    """

    kind: Literal["json", "one_of", "matches"]
    values: tuple[str, ...] = ()

    def passes(self, answer: str) -> bool:
        """Tell whether an answer is what it must be."""
        said = answer.strip()
        if self.kind == "json":
            return structured.parse(said) is not None
        if self.kind == "one_of":
            return said in self.values
        return len(said) <= _MOST and re.fullmatch(self.values[0], said, re.DOTALL) is not None


def check_of(text: str) -> Check:
    """Read a check as the command line and the API write it: `json`, `one_of:card,loan`, `matches:PATTERN`.

    Raises:
        InputError: none of these.
    """
    kind, _, rest = text.partition(":")
    if kind == "json" and not rest:
        return Check(kind="json")
    values = tuple(value.strip() for value in rest.split(",") if value.strip())
    if kind == "one_of" and values:
        return Check(kind="one_of", values=values)
    if kind == "matches" and rest:
        try:
            re.compile(rest)
        except (re.error, OverflowError) as error:
            raise InputError(f"check {text[:80]!r}: {error}", "a regular expression") from error
        return Check(kind="matches", values=(rest,))
    raise InputError(f"check {text[:80]!r}", "json, one_of:VALUE,VALUE or matches:PATTERN")
