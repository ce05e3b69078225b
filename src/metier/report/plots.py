"""Figures drawn as inline SVG by matplotlib, in colours that the page sets: one drawing serves light and dark."""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from metier.core.report import Figure, Series
from metier.report.cells import visible

_INK, _MUTED, _LINE, _PAPER = "#010101", "#020202", "#030303", "#040404"
_SERIES = ("#0a0000", "#0b0000", "#0c0000", "#0d0000", "#0e0000", "#0f0000")
_VARIABLES = {_INK: "ink", _MUTED: "muted", _LINE: "line", _PAPER: "card"} | {
    colour: f"series-{number}" for number, colour in enumerate(_SERIES)
}
_DASHES = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (1, 1)))
_INCHES_WIDE = 7.4
_LONGEST_LABEL = 34
_FEW_POINTS = 40
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "metier",
    "text.parse_math": False,
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _MUTED,
    "axes.formatter.useoffset": False,
    "text.color": _INK,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
    "grid.color": _LINE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.borderaxespad": 0.0,
}


def draw(figure: Figure, colours: Mapping[str, int], *, anchor: str) -> str:
    """Draw a figure.

    Args:
        figure: what to draw; lines over numbers, or horizontal bars over names.
        colours: series name -> colour number, from `page.colours`.
        anchor: a prefix that keeps the ids of several drawings on one page apart.

    Returns:
        An `<svg>` element. It holds text as text and the page's colour variables (`--ink`, `--series-1` …).
    """
    import matplotlib  # here, not above: a second of start-up that only a report pays
    from matplotlib.figure import Figure as Canvas

    stream = io.StringIO()
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has the glyphs, matplotlib measures
        canvas = Canvas(figsize=(_INCHES_WIDE, _inches_high(figure)), layout="constrained")
        axes = canvas.add_subplot()
        if figure.kind == "bars":
            _bars(axes, figure.series, colours)
        else:
            _lines(axes, figure.series, colours)
            axes.set_ylabel(visible(figure.y_label))
        axes.set_xlabel(visible(figure.y_label if figure.kind == "bars" else figure.x_label))
        if len(figure.series) > 1:
            canvas.legend(loc="outside upper left", ncols=4, handlelength=2.2, columnspacing=1.6)
        canvas.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _for_page(stream.getvalue(), anchor)


def _inches_high(figure: Figure) -> float:
    if figure.kind == "lines":
        return 2.9
    names = max((len(series.x) for series in figure.series), default=1)
    row = 0.17 * len(figure.series) + 0.13 if names <= _FEW_POINTS else 0.1 * len(figure.series) + 0.08
    return 0.75 + row * max(names, 1)


def _lines(axes: Any, series: Sequence[Series], colours: Mapping[str, int]) -> None:
    for place, entry in enumerate(series):
        colour = _SERIES[colours[entry.name]]
        mark = "o" if len(entry.x) <= _FEW_POINTS else ""
        axes.plot(
            entry.x,
            entry.y,
            label=visible(entry.name),
            color=colour,
            linestyle=_DASHES[place % len(_DASHES)],
            linewidth=1.7,
            marker=mark,
            markersize=3.4,
        )
        if entry.low is not None and entry.high is not None:
            axes.fill_between(entry.x, entry.low, entry.high, color=colour, alpha=0.16, linewidth=0)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.margins(x=0.01)


def _bars(axes: Any, series: Sequence[Series], colours: Mapping[str, int]) -> None:
    names = list(dict.fromkeys(str(name) for entry in series for name in entry.x))
    row_of = {name: row for row, name in enumerate(names)}
    thick = 0.8 / max(1, len(series))
    for place, entry in enumerate(series):
        rows = [row_of[str(name)] + (place - (len(series) - 1) / 2) * thick for name in entry.x]
        colour = _SERIES[colours[entry.name]]
        axes.barh(rows, entry.y, height=thick * 0.88, color=colour, label=visible(entry.name))
        if entry.low is not None and entry.high is not None:
            below = [max(0.0, value - low) for value, low in zip(entry.y, entry.low, strict=True)]
            above = [max(0.0, high - value) for value, high in zip(entry.y, entry.high, strict=True)]
            axes.errorbar(
                entry.y, rows, xerr=(below, above), fmt="none", color=_INK, ecolor=_INK, elinewidth=0.9, capsize=1.8
            )
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.tick_params(axis="y", length=0, labelcolor=_INK)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def _short(name: str) -> str:
    text = visible(name).replace("\n", " ")
    return text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…"


def _for_page(svg: str, anchor: str) -> str:
    """Cut the drawing down to its `<svg>` element, with the page's colours and fonts and with ids of its own."""
    svg = svg[svg.index("<svg") :].strip()
    for clutter in (
        r"<metadata>.*?</metadata>",
        r"<style.*?</style>",
        r"font-family: [^;\"]*; ",
        r' transform="rotate\(-0 [^"]*"',
    ):
        svg = re.sub(clutter, "", svg, flags=re.DOTALL)
    svg = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img" focusable="false">', svg, count=1
    )
    svg = re.sub(r'\bid="', f'id="{anchor}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{anchor}-", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    return re.sub(r"(?<=: )#0[0-9a-f]{5}", lambda match: f"var(--{_VARIABLES[match.group()]})", svg)
