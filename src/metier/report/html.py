"""A page as one HTML file: no script, no network, light and dark, every text escaped."""

import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from metier.core.__about__ import __version__
from metier.core.report import Cell, Figure, Table
from metier.report import plots
from metier.report.cells import cell, number_columns, visible
from metier.report.differences import is_alike, parts
from metier.report.page import Page, answer_sentence, answer_word, colours

_FOLDER = Path(__file__).parent
_ROWS_SHOWN = 25
_EXAMPLES_SHOWN = 5
_TILE_CHARACTERS = 30
_PROSE_SPACES = 6


def render(page: Page) -> str:
    """Return the page as the text of an HTML file."""
    template = _environment().get_template("page.html.jinja")
    return template.render(
        page=page,
        drawn=_drawn(page),
        style=Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),
        version=__version__,
        rows_shown=_ROWS_SHOWN,
        examples_shown=_EXAMPLES_SHOWN,
    )


def numbers(figure: Figure) -> Table:
    """Return what a figure draws as a table: a row for each x, a column for each series."""
    found: dict[Cell, dict[str, Cell]] = {}
    for series in figure.series:
        for x, y in zip(series.x, series.y, strict=True):
            found.setdefault(x, {})[series.name] = y
    names = [series.name for series in figure.series]
    rows = tuple((x, *(values.get(name) for name in names)) for x, values in found.items())
    return Table(title=figure.title, columns=(figure.x_label or "", *names), rows=rows)


def _drawn(page: Page) -> list[list[tuple[Figure, Markup]]]:
    """Draw every figure of every chapter; a series keeps its colour over the whole page."""
    colour_of = colours(figure for chapter in page.chapters for figure in chapter.report.figures)
    return [
        [
            (figure, Markup(plots.draw(figure, colour_of, anchor=f"figure-{place}-{number}")))
            for number, figure in enumerate(chapter.report.figures)
        ]
        for place, chapter in enumerate(page.chapters)
    ]


def _long(facts: Sequence[tuple[str, Cell]]) -> bool:
    """Tell whether facts are set one below the other, because one of them is long."""
    return any(len(cell(value)) > _TILE_CHARACTERS for _, value in facts)


def _prose_columns(table: Table) -> list[bool]:
    """Tell for each column whether it holds sentences, which need room and are set smaller."""
    return [
        any(cell(row[place]).count(" ") >= _PROSE_SPACES for row in table.rows) for place in range(len(table.columns))
    ]


def _breakable(text: str) -> Markup:
    """Escape a text and let long names break after their joints."""
    return Markup(re.sub(r"(?<=\w)([_/.:-])(?=[^\W\d])", r"\1<wbr>", str(escape(text))))


def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined)
    environment.filters.update(
        cell=cell,
        long=_long,
        visible=visible,
        parts=parts,
        alike=is_alike,
        word=answer_word,
        sentence=answer_sentence,
        flush=number_columns,
        prose=_prose_columns,
        breakable=_breakable,
        numbers=numbers,
    )
    return environment
