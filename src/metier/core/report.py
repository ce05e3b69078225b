"""The one value that every result is told with; `report/` gives it three faces (terminal, Markdown, HTML)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Cell = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer, in one sentence. `good` is True (yes), False (no) or None (cannot tell).

    `asked` False: nothing was asked that could be answered with yes or no; the sentence says what there is.
    """

    text: str
    good: bool | None
    asked: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A titled table; numbers are formatted by the face that shows them. `note` stands below it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One named line or set of bars: `x` are numbers for lines and category names for bars; `low`/`high` bound `y`."""

    name: str
    x: Sequence[float | str]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A picture described, not drawn: `report.plots` draws it as SVG."""

    title: str
    kind: Literal["lines", "bars"]
    series: tuple[Series, ...]
    x_label: str = ""
    y_label: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A row worth reading: where it stands, what was asked, what was wanted, what each model said."""

    source: str
    prompt: str
    reference: str
    outputs: tuple[tuple[str, str], ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Verdict first, then evidence. `facts` are name/value lines; `command` reproduces the report."""

    title: str
    verdict: Verdict
    facts: tuple[tuple[str, Cell], ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    examples: tuple[Example, ...] = ()
    command: str = ""
