"""Checks that a program can make of every answer, without knowing the right one; imports no torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from metier.core.errors import InputError, SettingsError
from metier.score import structured
from metier.score.graders.openai import StringCheck, TextSimilarity
from metier.score.graders.own import Style
from metier.score.graders.places import Shown, fill, shown
from metier.score.graders.values import Bench, rewards

_MOST = 20_000
"""Characters of an answer that are looked at: a longer one passes neither a pattern nor a grader."""
_NOWHERE = Bench(folder=Path("/nonexistent"))
_WANTED = "json, one_of:VALUE,VALUE, matches:PATTERN, or a grader (string_check, text_similarity, style)"

Grader = StringCheck | TextSimilarity | Style
_READ: TypeAdapter[Grader] = TypeAdapter(Annotated[Grader, Field(discriminator="type")])


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What an answer must be.

    `kind`: `json` (an object or array, nothing around it), `one_of` some values, or `matches` a regular expression,
    which must cover all of it; or a `grader`, written out, which must find it right.
    """

    kind: Literal["json", "one_of", "matches", "grader"]
    values: tuple[str, ...] = ()

    def passes(self, answer: str) -> bool:
        """Tell whether an answer is what it must be."""
        said = answer.strip()
        if self.kind == "json":
            return structured.parse(said) is not None
        if self.kind == "one_of":
            return said in self.values
        if len(said) > _MOST:
            return False
        if self.kind == "grader":
            return _graded(_READ.validate_json(self.values[0]), answer)
        return re.fullmatch(self.values[0], said, re.DOTALL) is not None


def check_of(wanted: str | Mapping[str, Any]) -> Check:
    """Read a check as the settings and the command line write it: a few words, or a grader.

    Raises:
        InputError: none of these.
        MissingExtraError: a grader wants a library that is not installed.
    """
    if not isinstance(wanted, str):
        return _of_grader(wanted)
    kind, _, rest = wanted.partition(":")
    if kind == "json" and not rest:
        return Check(kind="json")
    values = tuple(value.strip() for value in rest.split(",") if value.strip())
    if kind == "one_of" and values:
        return Check(kind="one_of", values=values)
    if kind == "matches" and rest:
        try:
            re.compile(rest)
        except (re.error, OverflowError) as error:
            raise InputError(f"check {wanted[:80]!r}: {error}", "a regular expression") from error
        return Check(kind="matches", values=(rest,))
    raise InputError(f"check {wanted[:80]!r}", _WANTED)


def _of_grader(wanted: Mapping[str, Any]) -> Check:
    try:
        grader = _READ.validate_python(dict(wanted))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["check", *(str(part) for part in first["loc"][1:])])
        raise InputError(f"{place}: {first['msg']}", _WANTED) from error
    if isinstance(grader, TextSimilarity) and grader.pass_threshold is None:
        raise InputError("check: text_similarity without pass_threshold", "the similarity from which on it passes")
    try:
        for place in () if isinstance(grader, Style) else (grader.input, grader.reference):
            fill(place, Shown(item={}, sample=_row("?").sample))
        rewards(grader, [_row("?")], _NOWHERE)
    except SettingsError as error:
        words = f"{error.wanted}; no row stands behind a request, so 'reference' is a text of its own"
        raise InputError(f"check: {error.found}", words) from error
    return Check(kind="grader", values=(grader.model_dump_json(),))


def _graded(grader: Grader, answer: str) -> bool:
    """Tell whether a grader finds an answer right; what it cannot look at is not."""
    try:
        (value,) = rewards(grader, [_row(answer)], _NOWHERE)
    except SettingsError:  # places that hold too much of this answer
        return False
    return value == 1.0


def _row(answer: str) -> Shown:
    return shown("", "", answer, beside={})
