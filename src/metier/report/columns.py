"""Tables in the terminal: as wide as they need to be, and readable where the window is narrower than that."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from metier.core.report import Table
from metier.report.cells import cell, number_columns, visible

_ROWS_SHOWN = 15
_MOST_SHOWN = 24
"""Rows of a table that is shown whole: leaving a handful out would save no room."""

_BETWEEN = 3
_SENTENCE_SPACES = 6
_LEAST_NAME = 10


def show_table(table: Table, console: Console) -> None:
    """Print a table.

    Where it is too wide, columns of whole sentences are left out (--json and report files have them), then intervals go
    below their value, then cells wrap, and where words would break the columns stand closer and headers break at
    hyphens.
    """
    shown = table.rows if len(table.rows) <= _MOST_SHOWN else table.rows[:_ROWS_SHOWN]
    lines = [list(table.columns), *([cell(value) for value in row] for row in shown)]
    places = list(range(len(table.columns)))
    if sum(_natural(lines, places)) > _budget(console, places):
        places = _without_prose(lines)
    if sum(_natural(lines, places)) > _budget(console, places):
        lines = [lines[0], *([text.replace(" (", "\n(", 1) for text in line] for line in lines[1:])]
    between = _BETWEEN
    if sum(_longest_words(lines, places)) > _budget(console, places):
        lines, between = [[name.replace("-", "-\n") for name in lines[0]], *lines[1:]], _BETWEEN - 1
    flush = number_columns(table)
    grid = Grid(
        box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim", border_style="dim",
        collapse_padding=between < _BETWEEN,
    )  # fmt: skip
    for place, width in zip(places, _widths(lines, places, _budget(console, places, between)), strict=True):
        side = "right" if flush[place] else "left"
        grid.add_column(Text(visible(lines[0][place])), justify=side, width=width, overflow="fold")
    for line in lines[1:]:
        grid.add_row(*(Text(line[place]) for place in places))
    console.print(Text(visible(table.title), "bold"))
    console.print(grid)
    if len(table.rows) > len(shown):
        console.print(Text(f"{len(table.rows) - len(shown)} more rows; --json tells all of them", "dim"))
    if table.note:
        console.print(Text(visible(table.note), "dim"))


def _budget(console: Console, places: Sequence[int], between: int = _BETWEEN) -> int:
    return console.width - between * (len(places) - 1)


def _longest_words(lines: Sequence[Sequence[str]], places: Sequence[int]) -> list[int]:
    return [max(len(word) for line in lines for word in [*line[place].split(), ""]) for place in places]


def _natural(lines: Sequence[Sequence[str]], places: Sequence[int]) -> list[int]:
    return [max(len(part) for line in lines for part in line[place].split("\n")) for place in places]


def _without_prose(lines: Sequence[Sequence[str]]) -> list[int]:
    """Return the columns but for those of whole sentences, never leaving out the first."""
    spaces = [max((line[place].count(" ") for line in lines[1:]), default=0) for place in range(len(lines[0]))]
    kept = [place for place, count in enumerate(spaces) if place == 0 or count < _SENTENCE_SPACES]
    return kept if len(kept) > 1 else list(range(len(lines[0])))


def _widths(lines: Sequence[Sequence[str]], places: Sequence[int], budget: int) -> list[int]:
    """Share the budget: every column its longest word (names: at least ten characters), the rest as they need it."""
    natural = _natural(lines, places)
    if sum(natural) <= budget:
        return natural
    words = _longest_words(lines, places)
    widths = [
        max(1, min(need, max(_LEAST_NAME, word if place else 0)))
        for place, need, word in zip(places, natural, words, strict=True)
    ]
    while sum(widths) > max(budget, len(widths)):
        widest = widths.index(max(widths))
        widths[widest] -= 1
    while (rest := budget - sum(widths)) > 0 and widths != natural:
        for place in sorted(range(len(widths)), key=lambda place: widths[place] - natural[place])[:rest]:
            widths[place] += widths[place] < natural[place]
    return widths
