"""How a long job tells how far it is, without knowing who listens."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from metier.core.types import Reasoned


class Task(Protocol):
    """One bar."""

    def advance(self, count: int = 1, facts: Mapping[str, float] | None = None) -> None:
        """Move on by `count` units; `facts` are live figures to show beside the bar (loss, tokens per second)."""


class Progress(Protocol):
    """A listener: the terminal, a log, or nobody."""

    def task(self, name: str, total: int, done: int = 0) -> AbstractContextManager[Task]:
        """Open a bar of `total` units, `done` of which lie behind us already."""

    def say(self, text: str) -> None:
        """Show one line."""

    def chose(self, choice: Reasoned) -> None:
        """Show a value that the program chose by itself, with its reason."""


class SilentTask:
    """A bar nobody sees."""

    def advance(self, count: int = 1, facts: Mapping[str, float] | None = None) -> None:
        """Do nothing."""


class Silent:
    """The listener that hears nothing; for library use and `--json`."""

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Task]:
        """Open a bar nobody sees."""
        yield SilentTask()

    def say(self, text: str) -> None:
        """Do nothing."""

    def chose(self, choice: Reasoned) -> None:
        """Do nothing."""


class OnlyBars:
    """A listener inside another: bars go on to it, lines and choices do not."""

    def __init__(self, inner: Progress) -> None:
        self.task = inner.task

    def say(self, text: str) -> None:
        """Do nothing."""

    def chose(self, choice: Reasoned) -> None:
        """Do nothing."""
