"""A page as one HTML file: no script, no network, light and dark, every text escaped."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from metier.core.__about__ import __version__
from metier.core.report import Cell, Figure, Table
from metier.report import plots
from metier.report.cells import cell, number_columns, visible
from metier.report.differences import parts
from metier.report.page import Page, answer_sentence, answer_word, colours

_FOLDER = Path(__file__).parent
_ROWS_SHOWN = 25
_EXAMPLES_SHOWN = 5


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


def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined)
    environment.filters.update(
        cell=cell,
        visible=visible,
        parts=parts,
        word=answer_word,
        sentence=answer_sentence,
        flush=number_columns,
        numbers=numbers,
    )
    return environment
