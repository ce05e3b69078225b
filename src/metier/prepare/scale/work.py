"""What is done to a piece of a file, wherever that is: read, clean, protect; the answer depends on the piece alone.

What crosses pieces (copies, counts, numbers of groups) is gathered where the answers come together, in their order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from metier.core.types import Dropped, Row
from metier.prepare.candidate import Candidate, Role, Stage
from metier.prepare.cleaning import stage as cleaning
from metier.prepare.cleaning.glance import Glance, glances
from metier.prepare.decisions import Decision
from metier.prepare.duplicates.compared import compared
from metier.prepare.duplicates.shelf import Sheaf, folded
from metier.prepare.places import Entry, entry_of
from metier.prepare.protect.stage import Guard, Unnamed
from metier.prepare.protect.tally import Kept
from metier.prepare.protect.vault import Key
from metier.prepare.reading.intake import Books, rows_of
from metier.prepare.reading.pieces import Piece
from metier.prepare.settings import PrepareSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All that has to be known to work on pieces. `spared` rows stay as they are; `key` makes pseudonyms.

    `guarded`: personal data are looked for; `languages`: they are told.
    """

    settings: PrepareSettings
    folder: Path
    spared: frozenset[str]
    guarded: bool
    languages: bool
    key: Key | None = None

    def opened(self) -> "Worker":
        """Return what works on a piece."""
        return Worker(self)


class Made(NamedTuple):
    """A row that has passed.

    `line` is what the snapshot will hold ("" where that cannot be written in UTF-8), `entry` what its columns will,
    `glance` what second looks have to know.
    `row` is there where both have to wait for the number of a group.
    """

    line: bytes
    entry: Entry
    glance: Glance
    spared: bool
    decisions: tuple[Decision, ...]
    row: Row | None = None


@dataclass(slots=True)
class Outcome:
    """What became of a piece: every row in order, what is compared of those that passed, and what was counted."""

    role: Role
    items: list[Made | Dropped]
    sheaf: Sheaf
    books: Books
    kept: Kept


class Worker:
    """Works on pieces.

    Args:
        job: what to do.
        guard: finds personal data; None: it is opened, where the job asks for it.
    """

    def __init__(self, job: Job, guard: Guard | None = None) -> None:
        self._spared, self._cleaning, self._languages = job.spared, job.settings.clean, job.languages
        self._guard = guard or (Guard(job.settings.protect, job.folder, key=job.key) if job.guarded else None)
        guards: Sequence[Stage] = (self._guard,) if self._guard else ()
        self._compares = _compares(job.settings)
        self._stages: tuple[Stage, ...] = (cleaning.stage(job.settings.clean), *guards)

    def __call__(self, piece: Piece) -> Outcome:
        """Take every row of a piece through every stage.

        Raises:
            DataError: the bytes are not UTF-8.
        """
        books = Books()
        items: Iterable[Candidate | Dropped] = _counted(rows_of(piece, self._spared), books)
        for stage in self._stages:
            items = stage(items)
        passed = list(items)
        rows = [item.row for item in passed if isinstance(item, Candidate)]
        told = iter(glances(rows, self._cleaning, languages=self._languages))
        made = [item if isinstance(item, Dropped) else _made(item, next(told)) for item in passed]
        sheaf = folded([compared(row) for row in rows] if self._compares else [])
        return Outcome(piece.reading.role, made, sheaf, books, self._guard.taken() if self._guard else Kept())


def _compares(settings: PrepareSettings) -> bool:
    """Tell whether rows are compared with other rows by their words."""
    against = settings.contamination
    return settings.dedupe.near != "off" or against.test or bool(against.against)


def _counted(items: Iterable[Candidate | Dropped], books: Books) -> Iterable[Candidate | Dropped]:
    for item in items:
        books.add(item)
        yield item


def _made(item: Candidate, glance: Glance) -> Made:
    waits = isinstance(item.row.group, Unnamed) or isinstance(item.row.slice, Unnamed)
    return Made(
        written(item), entry_of(item.row), glance, item.spared, item.decisions, item.row if waits else None
    )  # fmt: skip


def written(item: Candidate) -> bytes:
    """Return the line of a row, empty when it holds half a character."""
    try:
        return item.line().encode()
    except UnicodeEncodeError:
        return b""
