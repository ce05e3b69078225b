import io

import pytest
from rich.console import Console

from metier.core.types import Reasoned
from metier.report.progress import LiveProgress, PlainProgress, choice_line, how_far, open_progress, summary


class Clock:
    """A clock that the test winds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def plain() -> tuple[PlainProgress, io.StringIO, Clock]:
    stream, clock = io.StringIO(), Clock()
    return PlainProgress(Console(file=stream, width=80), clock), stream, clock


def break_off(progress, clock, *, total: int, done: int, count: int) -> None:
    with progress.task("train", total, done=done) as task:
        clock.now += 5
        task.advance(count, {"loss": 0.25})
        raise ValueError("boom")


def test_a_pipe_gets_a_line_now_and_then_with_the_time_left():
    progress, stream, clock = plain()
    with progress, progress.task("train", 100) as task:
        for _ in range(100):
            clock.now += 1
            task.advance(1, {"loss": 0.5})
    lines = stream.getvalue().splitlines()
    assert lines[0] == "train: 10/100 (10%), about 1:30 left  loss 0.5000"
    assert lines[-1] == "train: 100 in 1:40  loss 0.5000"
    assert len(lines) == 10


def test_the_time_left_counts_only_what_was_done_now():
    progress, stream, clock = plain()
    with progress.task("train", 100, done=80) as task:
        clock.now += 10
        task.advance(10)
    assert stream.getvalue().splitlines()[0] == "train: 90/100 (90%), about 10 s left"


def test_a_job_that_breaks_off_says_how_far_it_came():
    progress, stream, clock = plain()
    with pytest.raises(ValueError, match="boom"):
        break_off(progress, clock, total=3, done=0, count=1)
    assert stream.getvalue() == "train: stopped at 1 of 3 in 5.0 s  loss 0.2500\n"


def test_a_short_job_leaves_no_line():
    progress, stream, _ = plain()
    with progress.task("read", 3) as task:
        task.advance(3)
    assert stream.getvalue() == ""


def test_a_long_job_is_told_more_and_more_rarely():
    progress, stream, clock = plain()
    with progress.task("train", 100_000) as task:
        for _ in range(100_000):
            clock.now += 1
            task.advance()
    assert len(stream.getvalue().splitlines()) < 100


def test_lines_are_not_wrapped_and_carry_no_control_characters():
    progress, stream, _ = plain()
    progress.say("x" * 200 + "\x1b[31m")
    progress.chose(Reasoned(name="train.epochs", value=8.0, reason="750 rows"))
    assert stream.getvalue() == "x" * 200 + "␛[31m\n  train.epochs: 8 (750 rows)\n"


def test_choices_of_any_kind_can_be_told():
    assert choice_line(Reasoned(name="a", value=("x", 1), reason="r")) == "a: ('x', 1) (r)"
    assert choice_line(Reasoned(name="a", value=None, reason="r")) == "a: – (r)"


def test_a_terminal_gets_bars_and_a_line_that_stays():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=90, _environ={"TERM": "xterm"})
    assert isinstance(open_progress(console), LiveProgress)
    clock = Clock()
    progress = LiveProgress(console, clock)
    with progress:
        progress.say("prepare: 3 rows")
        progress.chose(Reasoned(name="train.epochs", value=8.0, reason="750 rows"))
        with pytest.raises(ValueError, match="boom"):
            break_off(progress, clock, total=10, done=2, count=3)
    text = stream.getvalue()
    assert "train: stopped at 5 of 10" in text
    assert "loss 0.25" in text
    assert "train.epochs:" in text
    assert text.rstrip("\r").endswith("\x1b[?25h"), "the cursor is given back"


def test_dumb_terminals_and_pipes_get_plain_lines():
    assert isinstance(open_progress(Console(file=io.StringIO())), PlainProgress)
    dumb = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    assert isinstance(open_progress(dumb), PlainProgress)


def test_a_summary_says_how_far_it_came():
    assert how_far(10, 10, ended_well=True) == "10"
    assert how_far(5, 10, ended_well=True) == "5 of 10"
    assert how_far(5, 1000, ended_well=False) == "stopped at 5 of 1,000"
    assert summary("train", "5", 61.0, {}) == "train: 5 in 1:01"
