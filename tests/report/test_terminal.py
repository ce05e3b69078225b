import io
from dataclasses import replace

import pytest
from rich.console import Console

from metier.core.errors import SettingsError
from metier.core.report import Example, Report, Table, Verdict
from metier.report import terminal
from metier.report.page import page_of
from tests.report import samples


def shown(call, *, width: int = 100, colour: bool = False) -> str:
    stream = io.StringIO()
    call(Console(file=stream, width=width, force_terminal=colour, highlight=False))
    return stream.getvalue()


def test_a_page_ends_with_its_verdict():
    text = shown(lambda console: terminal.show(samples.page(), console))
    assert text.rindex("✓ Yes") > text.index("What was it taught with?")
    assert "0.4324" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [40, 80, 160])
def test_it_fits_any_width(width):
    text = shown(lambda console: terminal.show(samples.page(), console), width=width)
    assert max(map(len, text.splitlines())) <= width


def test_colours_only_in_a_terminal_and_never_from_data():
    text = shown(lambda console: terminal.show(samples.page(), console), colour=True)
    assert "\x1b[" in text
    assert "seconds␛[31m" in text
    plain = shown(lambda console: terminal.show(samples.page(), console))
    assert "[bold]" in plain, "markup in data is text"


def test_long_tables_and_many_examples_are_cut_and_said_to_be():
    example = Example(source="f:1", prompt="p" * 2000, reference="r", outputs=(("base", "r"),))
    table = Table(title="t", columns=("n",), rows=tuple((number,) for number in range(50)))
    report = Report(title="r", verdict=Verdict(text="v", good=True), tables=(table,), examples=(example,) * 9)
    text = shown(lambda console: terminal.show(page_of(report), console))
    assert "35 more rows; --json tells all of them" in text
    assert "6 more rows; --json tells all of them" in text
    assert "report file" not in text, "most commands write none"
    assert "2,000" in text
    assert text.count("p") < 3 * 700


def test_a_handful_of_rows_is_not_left_out():
    table = Table(title="t", columns=("n",), rows=tuple((f"row {number}",) for number in range(22)))
    report = Report(title="r", verdict=Verdict(text="v", good=True), tables=(table,))
    text = shown(lambda console: terminal.show(page_of(report), console))
    assert "row 21" in text
    assert "more rows" not in text


def test_sparklines_rise_and_fall():
    assert terminal.sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert terminal.sparkline([5.0]) == "▁"
    assert len(terminal.sparkline(list(range(1000)), width=20)) == 20


def test_an_error_is_told_as_found_wanted_do():
    error = SettingsError("metier.yaml: train.learnig_rate: unknown", "a known name", "did you mean 'learning_rate'?")
    lines = shown(lambda console: terminal.show_error(error, console)).splitlines()
    assert [line.split()[0] for line in lines] == ["found", "wanted", "do"]
    short = shown(lambda console: terminal.show_error(SettingsError("only this"), console))
    assert "wanted" not in short


def test_a_no_is_red_and_crossed():
    page = replace(samples.page(False), chapters=())
    text = shown(lambda console: terminal.show(page, console), colour=True)
    assert "✗ No" in text
    assert "\x1b[31m" in text or "\x1b[1;31m" in text


def test_a_summary_asks_every_question_and_says_the_verdict_once():
    page = samples.page()
    text = " ".join(shown(lambda console: terminal.show_summary(page, console), width=200).split())
    assert all(chapter.question in text for chapter in page.chapters)
    assert text.count("Better: field accuracy") == 1
    assert "exact match" in text
    assert "Exact match by intent" not in text
