"""A page as Markdown: for pull requests, wikis and grep."""

import re

from metier.core.report import Cell, Example, Figure, Report, Table, Verdict
from metier.report.cells import cell, number_columns, visible
from metier.report.page import Page, answer_sentence, answer_word

_ESCAPED = re.compile(r"([\\`*_\[\]<>|#~])")
_EXAMPLES_SHOWN = 10


def render(page: Page) -> str:
    """Return the page as Markdown; figures are told by their first and last values (bars: all of them)."""
    lines = [f"# {_inline(page.title)}", "", _verdict(page.verdict), ""]
    lines += _facts(page.facts)
    for chapter in page.chapters:
        if chapter.question:
            lines += [f"## {_inline(chapter.question)}", "", _verdict(chapter.report.verdict), ""]
        lines += _report(chapter.report)
    if page.command:
        lines += ["The same report again:", "", *_fenced(page.command), ""]
    return "\n".join(lines).rstrip() + "\n"


def _report(report: Report) -> list[str]:
    lines = _facts(report.facts)
    for figure in report.figures:
        lines += _figure(figure)
    for table in report.tables:
        lines += _table(table)
    if report.examples:
        lines += ["### Rows worth reading", ""]
    for example in report.examples[:_EXAMPLES_SHOWN]:
        lines += _example(example)
    return lines


def _verdict(verdict: Verdict) -> str:
    return f"**{answer_word(verdict)}.** {_inline(answer_sentence(verdict))}"


def _facts(facts: tuple[tuple[str, Cell], ...]) -> list[str]:
    return [f"- {_inline(name)}: {_inline(cell(value))}" for name, value in facts] + [""] * bool(facts)


def _figure(figure: Figure) -> list[str]:
    lines = [f"### {_inline(figure.title)}", ""]
    for series in figure.series:
        if figure.kind == "lines" and len(series.y) > 0:
            lines.append(f"- {_inline(series.name)}: {cell(series.y[0])} → {cell(series.y[-1])}")
        elif figure.kind == "bars":
            values = ", ".join(f"{_inline(str(x))} {cell(y)}" for x, y in zip(series.x, series.y, strict=True))
            lines.append(f"- {_inline(series.name)}: {values}")
    return [*lines, "", *([_inline(figure.note), ""] if figure.note else [])]


def _table(table: Table) -> list[str]:
    rules = ["--:" if flush else "---" for flush in number_columns(table)]
    lines = [f"### {_inline(table.title)}", "", _line([_inline(name) for name in table.columns]), _line(rules)]
    lines += [_line([_inline(cell(value)) for value in row]) for row in table.rows]
    return [*lines, "", *([_inline(table.note), ""] if table.note else [])]


def _line(values: list[str]) -> str:
    return "| " + " | ".join(values) + " |"


def _example(example: Example) -> list[str]:
    note = f" – {_inline(example.note)}" if example.note else ""
    lines = [f"**{_inline(example.source)}**{note}", "", "asked", "", *_fenced(example.prompt), ""]
    lines += ["wanted", "", *_fenced(example.reference), ""]
    for name, output in example.outputs:
        lines += [_inline(name), "", *_fenced(output), ""]
    return lines


def _inline(text: str) -> str:
    return _ESCAPED.sub(r"\\\1", visible(text).replace("\n", " "))


def _fenced(text: str) -> list[str]:
    """Fence a text with more backticks than it has in a row, so that it cannot end its own block."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return [fence, visible(text), fence]
