"""Several reports as one page: what the three faces draw, and the plain values that machines read."""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from metier.core.report import Cell, Figure, Report, Verdict

COLOURS = 6
"""How many colours a face has for series."""

_NEUTRAL = "base"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """One report on the page. `name` is its anchor, `question` the heading that a newcomer reads."""

    name: str
    question: str
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The answer first, then the evidence chapter by chapter. `command` makes the page again."""

    title: str
    verdict: Verdict
    chapters: tuple[Chapter, ...] = ()
    facts: tuple[tuple[str, Cell], ...] = ()
    command: str = ""


def page_of(report: Report) -> Page:
    """Return a page with one chapter, whose verdict is the page's."""
    chapter = Chapter(name="report", question="", report=report)
    return Page(title=report.title, verdict=report.verdict, chapters=(chapter,), command=report.command)


def as_plain(value: Any) -> Any:
    """Return a page or a report as plain values for JSON; numbers that are not finite become null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (np.generic, np.ndarray)):
        return as_plain(value.tolist())
    if isinstance(value, dict):
        return {str(name): as_plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def answer_word(verdict: Verdict) -> str:
    """Return the verdict in one or two words, so that no face says it by colour alone."""
    if verdict.good is None and not verdict.asked:
        return "Note"
    return {True: "Yes", False: "No", None: "Cannot tell"}[verdict.good]


def answer_sentence(verdict: Verdict) -> str:
    """Return the verdict's sentence with a capital, without the word that `answer_word` has said already."""
    word, text = answer_word(verdict), verdict.text
    if text.lower().startswith(f"{word.lower()}: "):
        text = text[len(word) + 2 :]
    return text[:1].upper() + text[1:]


def colours(figures: Iterable[Figure]) -> dict[str, int]:
    """Give every series name on a page one colour number below 6: `base` is the neutral 0, others as they appear."""
    numbers = {_NEUTRAL: 0}
    for figure in figures:
        for series in figure.series:
            numbers.setdefault(series.name, 1 + (len(numbers) - 1) % (COLOURS - 1))
    return numbers
