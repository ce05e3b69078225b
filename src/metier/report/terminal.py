"""A page in the terminal: the verdict in a box, then facts, figures as bars and sparklines, tables, a few rows."""

from collections.abc import Mapping, Sequence

from rich.box import ROUNDED
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table as Grid
from rich.text import Text

from metier.core.errors import MetierError
from metier.core.report import Cell, Example, Figure, Report, Series, Verdict
from metier.report.cells import cell, visible
from metier.report.columns import show_table
from metier.report.differences import parts
from metier.report.page import Page, answer_sentence, answer_word, colours

_TONES = {True: "green", False: "red", None: "yellow"}
_SIGNS = {True: "✓", False: "✗", None: "?"}
_NOTE = "!"
_SERIES_TONES = ("bright_black", "cyan", "magenta", "blue", "yellow", "green")
_BARS_SHOWN = 12
_EXAMPLES_SHOWN = 3
_LONGEST_EXAMPLE = 600
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARKLINE_WIDTH = 48
_BAR_WIDTH = 28


def show(page: Page, console: Console) -> None:
    """Print the page: chapter by chapter, the verdict of the whole last, where the eye rests."""
    for chapter in page.chapters:
        if chapter.question:
            console.print()
            console.rule(Text(chapter.question, "bold"), align="left", style="dim")
            console.print(_answer(chapter.report.verdict))
        show_report(chapter.report, console)
    if page.facts:
        console.print()
        console.print(_facts(page.facts))
    console.print()
    alone = len(page.chapters) == 1 and not page.chapters[0].question
    console.print(_box(page.verdict, page.title, "") if alone else verdict(page.verdict, page.title))


def show_summary(page: Page, console: Console) -> None:
    """Print a page in short: a line for each chapter that is not the verdict itself, one table, the verdict."""
    grid = Grid.grid(padding=(0, 1))
    for chapter in page.chapters:
        answer = chapter.report.verdict
        grid.add_row(Text(_sign(answer), f"bold {_TONES[answer.good]}"), Text(chapter.question, "bold"))
        if answer != page.verdict:
            grid.add_row("", Text(visible(answer_sentence(answer))))
    console.print()
    console.print(grid)
    for table in page.chapters[0].report.tables[:1] if page.chapters else ():
        console.print()
        show_table(table, console)
    console.print()
    console.print(verdict(page.verdict, page.title))


def show_report(report: Report, console: Console) -> None:
    """Print what stands behind a verdict."""
    if report.facts:
        console.print()
        console.print(_facts(report.facts))
    for figure in report.figures:
        console.print()
        console.print(_figure(figure))
    for table in report.tables:
        console.print()
        show_table(table, console)
    for example in report.examples[:_EXAMPLES_SHOWN]:
        console.print()
        console.print(_example(example))
    if len(report.examples) > _EXAMPLES_SHOWN:
        console.print(Text(f"{len(report.examples) - _EXAMPLES_SHOWN} more rows; --json tells all of them", "dim"))


def verdict(answer: Verdict, title: str) -> Panel:
    """Return the verdict in a box of its colour, headed by its word."""
    return _box(answer, answer_word(answer), title)


def _sign(answer: Verdict) -> str:
    return _NOTE if answer.good is None and not answer.asked else _SIGNS[answer.good]


def _box(answer: Verdict, heading: str, footing: str) -> Panel:
    tone = _TONES[answer.good]
    return Panel(
        Text(visible(answer_sentence(answer)), "bold"),
        title=Text(f" {_sign(answer)} {visible(heading)} ", f"bold {tone}"),
        title_align="left",
        subtitle=Text(f" {visible(footing)} ", "dim") if footing else None,
        subtitle_align="left",
        border_style=tone,
        box=ROUNDED,
        padding=(0, 1),
    )


def show_error(error: MetierError, console: Console) -> None:
    """Print an error as found / wanted / do."""
    grid = Grid.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text("found ", "bold red"), Text(visible(error.found)))
    if error.wanted:
        grid.add_row(Text("wanted", "bold"), Text(visible(error.wanted)))
    if error.do:
        grid.add_row(Text("do    ", "bold green"), Text(visible(error.do)))
    console.print(grid)


def _answer(answer: Verdict) -> Text:
    tone = _TONES[answer.good]
    return Text.assemble((f"{_sign(answer)} ", f"bold {tone}"), visible(answer_sentence(answer)))


def _facts(facts: Sequence[tuple[str, Cell]]) -> Grid:
    grid = Grid.grid(padding=(0, 2))
    grid.add_column(style="dim", max_width=32)
    grid.add_column(overflow="fold")
    for name, value in facts:
        grid.add_row(Text(visible(name)), Text(cell(value)))
    return grid


def _figure(figure: Figure) -> Group:
    tones = {name: _SERIES_TONES[number] for name, number in colours([figure]).items()}
    body = (_sparklines if figure.kind == "lines" else _bars)(figure.series, tones)
    parts_: list[Text | Grid] = [Text(visible(figure.title), "bold"), body]
    hidden = max((len(series.x) for series in figure.series), default=0) - _BARS_SHOWN
    if figure.kind == "bars" and hidden > 0:
        parts_.append(Text(f"{hidden} more; --json tells all of them", "dim"))
    return Group(*parts_)


def _sparklines(series: Sequence[Series], tones: Mapping[str, str]) -> Grid:
    grid = Grid.grid(padding=(0, 1))
    for entry in series:
        values = [float(value) for value in entry.y]
        if values:
            grid.add_row(
                Text(visible(entry.name)),
                Text(cell(values[0])),
                Text(sparkline(values), tones[entry.name]),
                Text(cell(values[-1]), "bold"),
            )
    return grid


def sparkline(values: Sequence[float], width: int = _SPARKLINE_WIDTH) -> str:
    """Draw numbers as a row of at most `width` blocks, each the mean of its share of the values."""
    cells = min(width, len(values))
    shares = [values[place * len(values) // cells : (place + 1) * len(values) // cells] for place in range(cells)]
    means = [sum(share) / len(share) for share in shares]
    low, high = min(means), max(means)
    spread = (high - low) or 1.0
    return "".join(_SPARKS[round((mean - low) / spread * (len(_SPARKS) - 1))] for mean in means)


def _bars(series: Sequence[Series], tones: Mapping[str, str]) -> Grid:
    names = list(dict.fromkeys(str(name) for entry in series for name in entry.x))[:_BARS_SHOWN]
    largest = max((float(value) for entry in series for value in entry.y), default=0.0) or 1.0
    grid = Grid.grid(padding=(0, 1))
    for name in names:
        for place, entry in enumerate(series):
            value = dict(zip(map(str, entry.x), entry.y, strict=True)).get(name)
            if value is None:
                continue
            bar = Text("█" * max(0, round(float(value) / largest * _BAR_WIDTH)) or "▏", tones[entry.name])
            label = visible(name) if place == 0 else ""
            grid.add_row(Text(label), Text(visible(entry.name), "dim"), bar, Text(cell(value)))
    return grid


def _example(example: Example) -> Panel:
    grid = Grid.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True, max_width=16)
    grid.add_column(overflow="fold")
    grid.add_row("asked", Text(_cut(example.prompt)))
    grid.add_row("wanted", Text(_cut(example.reference)))
    for name, output in example.outputs:
        grid.add_row(Text(visible(name)), _compared(example.reference, output))
    title = Text.assemble((f" {visible(example.source)} ", "bold"), (visible(example.note), "dim"), " ")
    return Panel(grid, title=title, title_align="left", border_style="dim", box=ROUNDED)


def _compared(reference: str, output: str) -> Text:
    if not output:
        return Text("(nothing)", "dim")
    text = Text()
    for piece, same in parts(reference, _cut(output)):
        text.append(visible(piece), "" if same else "red underline")
    return text


def _cut(text: str) -> str:
    shown = visible(text).strip("\n")
    return shown if len(shown) <= _LONGEST_EXAMPLE else f"{shown[:_LONGEST_EXAMPLE]}… ({len(shown):,} characters)"
