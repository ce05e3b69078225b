"""How a long job is watched: live bars with the time left in a terminal, plain lines now and then elsewhere."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
)
from rich.progress import Task as Bar
from rich.table import Column
from rich.text import Text

from metier.core.types import Reasoned
from metier.report.cells import cell, duration, live, visible

_WORTH_A_LINE_SECONDS = 1.0
_BETWEEN_LINES_SECONDS = 10.0
_BETWEEN_LINES_SHARE = 0.1


def choice_line(choice: Reasoned) -> str:
    """Write a value that the program chose by itself, with its reason."""
    value = cell(choice.value) if isinstance(choice.value, (str, int, float, type(None))) else str(choice.value)
    return f"{choice.name}: {visible(value)} ({choice.reason})"


class PlainTask:
    """A job told in lines: at most one every ten seconds, fewer the longer it takes, so that a log stays readable."""

    def __init__(
        self, name: str, total: int, done: int, *, write: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        self._name = name
        self._total = total
        self._start_done = done
        self._done = done
        self._facts: dict[str, float] = {}
        self._write = write
        self._clock = clock
        self._started = self._written = clock()

    def advance(self, count: int = 1, facts: Mapping[str, float] | None = None) -> None:
        """Move on by `count` units."""
        self._done += count
        self._facts.update(facts or {})
        now = self._clock()
        wait = max(_BETWEEN_LINES_SECONDS, _BETWEEN_LINES_SHARE * (now - self._started))
        if now - self._written >= wait and self._done < self._total:
            self._written = now
            self._write(self._line(now))

    def close(self, *, ended_well: bool) -> None:
        """Tell how it ended, if it took long enough to be worth a line."""
        seconds = self._clock() - self._started
        if seconds >= _WORTH_A_LINE_SECONDS:
            told = how_far(self._done, self._total, ended_well=ended_well)
            self._write(summary(self._name, told, seconds, self._facts))

    def _line(self, now: float) -> str:
        rate = (self._done - self._start_done) / max(now - self._started, 1e-9)
        left = f", about {duration((self._total - self._done) / rate)} left" if rate > 0 else ""
        share = self._done / max(self._total, 1)
        facts = f"  {live(self._facts)}" if self._facts else ""
        return f"{self._name}: {self._done:,}/{self._total:,} ({share:.0%}){left}{facts}"


def how_far(done: int, total: int, *, ended_well: bool) -> str:
    """Write how far a job came: all of it, as much as it needed, or where it broke off."""
    if done >= total:
        return f"{done:,}"
    return f"{done:,} of {total:,}" if ended_well else f"stopped at {done:,} of {total:,}"


def summary(name: str, told: str, seconds: float, facts: Mapping[str, float]) -> str:
    """Write the one line that stays when a job is over."""
    return f"{name}: {told} in {duration(seconds)}" + (f"  {live(facts)}" if facts else "")


class PlainProgress:
    """Plain lines, for pipes, logs and dumb terminals. `clock` gives seconds; tests give their own."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock

    def __enter__(self) -> "PlainProgress":
        """Start listening."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop listening."""

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[PlainTask]:
        """Open a job of `total` units, `done` of which lie behind us already."""
        task = PlainTask(name, total, done, write=self.say, clock=self._clock)
        ended_well = False
        try:
            yield task
            ended_well = True
        finally:
            task.close(ended_well=ended_well)

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(Text(visible(text)), soft_wrap=True)

    def chose(self, choice: Reasoned) -> None:
        """Print a value that the program chose by itself, with its reason."""
        self.say(f"  {choice_line(choice)}")


class TimeLeft(ProgressColumn):
    """The time a bar still needs, or nothing while that is not known."""

    def render(self, task: Bar) -> Text:
        """Return the column's text."""
        left = task.time_remaining
        return Text("" if left is None or task.finished else f"{duration(left)} left", "cyan")


class LiveTask:
    """A bar on the screen."""

    def __init__(self, bars: Progress, number: TaskID, facts: dict[str, float]) -> None:
        self._bars = bars
        self._number = number
        self._facts = facts

    def advance(self, count: int = 1, facts: Mapping[str, float] | None = None) -> None:
        """Move on by `count` units."""
        self._facts.update(facts or {})
        self._bars.update(self._number, advance=count)


class LiveProgress:
    """Live bars in a terminal, the newest figures beneath; a bar that took a second leaves one line behind."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._facts: dict[TaskID, dict[str, float]] = {}
        self._bars = Progress(
            TextColumn("  {task.description}", style="bold", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeLeft(table_column=Column(no_wrap=True, min_width=11)),
            console=console,
            expand=True,
        )
        self._live = Live(get_renderable=self._picture, console=console, transient=True, refresh_per_second=8)

    def __enter__(self) -> "LiveProgress":
        """Start drawing."""
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop drawing and give the cursor back."""
        self._live.stop()

    def _picture(self) -> Group:
        lines = [
            Text(f"  {live(facts)}", "dim", no_wrap=True, overflow="ellipsis")
            for facts in self._facts.values()
            if facts
        ]
        return Group(self._bars.get_renderable(), *lines)

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[LiveTask]:
        """Open a bar of `total` units, `done` of which lie behind us already."""
        number = self._bars.add_task(name, total=total, completed=done)
        facts = self._facts.setdefault(number, {})
        started = self._clock()
        ended_well = False
        try:
            yield LiveTask(self._bars, number, facts)
            ended_well = True
        finally:
            bar = next(bar for bar in self._bars.tasks if bar.id == number)
            seconds = self._clock() - started
            self._bars.remove_task(number)
            del self._facts[number]
            if seconds >= _WORTH_A_LINE_SECONDS:
                told = how_far(int(bar.completed), total, ended_well=ended_well)
                self._done(summary(name, told, seconds, facts), ended_well)

    def say(self, text: str) -> None:
        """Print one line above the bars; what stands before the first colon is set bold."""
        name, colon, rest = visible(text).partition(":")
        heading = "bold" if colon and " " not in name.strip() else ""
        self._console.print(Text.assemble((name + colon, heading), rest))

    def chose(self, choice: Reasoned) -> None:
        """Print a value that the program chose by itself, with its reason."""
        name, _, rest = choice_line(choice).partition(":")
        self._console.print(Text.assemble(("  · ", "dim"), (f"{name}:", "cyan"), rest))

    def _done(self, line: str, ended_well: bool) -> None:
        sign = ("  ✓ ", "green") if ended_well else ("  ✗ ", "red")
        self._console.print(Text.assemble(sign, (line, "dim")))


def open_progress(console: Console) -> PlainProgress | LiveProgress:
    """Return live bars when the console is a terminal, else plain lines."""
    return LiveProgress(console) if console.is_terminal and not console.is_dumb_terminal else PlainProgress(console)
