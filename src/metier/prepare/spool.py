"""The rows that have passed every streaming step, waiting on disk for their split; in memory are only columns."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from metier.core.types import Row
from metier.prepare.candidate import Role
from metier.prepare.decisions import Action, Decision
from metier.prepare.duplicates.shelf import Sheaf, Shelves, Shelving
from metier.prepare.ledger import TOGETHER, Ledger, Pages
from metier.prepare.places import Entry, Growing, Places
from metier.text.formats import Recognised
from metier.text.rows import row_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spool:
    """N rows on disk.

    `places`: what is known of each. `alive` bool [N]: False once a look has dropped the row. `offsets` int64 [N+1]:
    line i is the bytes from `offsets[i]` to `offsets[i+1]` of `path`. `formats`: how the records of each file are read.
    `shelves`: what is compared of each row, folded. `pages`: where the offsets are mapped.
    """

    path: Path
    places: Places
    alive: np.ndarray
    offsets: np.ndarray
    formats: Mapping[str, Recognised]
    shelves: Shelves
    pages: Pages

    def __len__(self) -> int:
        """Return the number of rows N, dropped ones counted."""
        return len(self.places)

    def lines(self, numbers: Iterable[int] | None = None) -> Iterator[bytes]:
        """Yield the lines of all rows in order (dropped ones too), or of those with these numbers."""
        with self.path.open("rb") as stream:
            if numbers is None:
                yield from stream
                return
            for number in numbers:
                start = int(self.offsets[number])
                if stream.tell() != start:
                    stream.seek(start)
                yield stream.read(int(self.offsets[number + 1]) - start)

    def rows(self, numbers: Iterable[int] | None = None) -> Iterator[Row]:
        """Yield all rows in order (dropped ones too), or those with these numbers."""
        for line in self.lines(numbers):
            yield row_of(json.loads(line), self.formats, "the spool")

    def let_go(self) -> None:
        """Give back the memory of the columns that were looked at: what comes next may look at others."""
        self.pages.let_go()
        self.places.pages.let_go()

    def remove(self) -> None:
        """Delete the files; only the columns can be used afterwards."""
        for path in (self.path, self.shelves.texts, self.shelves.table):
            path.unlink()

    def decision(
        self, number: int | np.integer[Any], rule: str, action: Action, reason: str, detail: str = ""
    ) -> Decision:
        """Return what a look decides about a row: `flag` or `drop`; only streaming stages change rows."""
        place, number = self.places, int(number)
        return Decision(
            source=place.source(number), row_id=place.id(number), rule=rule, action=action, reason=reason,
            detail=detail, number=number,
        )  # fmt: skip


Look = Callable[[Spool], Iterable[Decision]]
"""A second look over all rows at once, after the streaming stages. It passes by rows that are no longer `alive`."""


class Filling:
    """A spool while rows come in; a context manager.

    Args:
        path: of the file of lines; what is compared goes beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns, self._ends = Growing(path.parent), Ledger({"ends": "q"}, path.parent)
        self._end = 0
        self._ends.waiting["ends"].append(0)
        self._stream: BinaryIO | Any = None
        self._shelving = Shelving(self.path.with_name(f"{self.path.name}.texts"))

    def __enter__(self) -> Self:
        """Open the files."""
        self._stream = self.path.open("wb")
        self._shelving.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        self._stream.close()
        self._shelving.__exit__(kind, error, trace)

    def add(self, line: bytes, entry: Entry, role: Role) -> None:
        """Write one row: its line, and what the columns take of it."""
        self._stream.write(line)
        self._end += len(line)
        ends = self._ends.waiting["ends"]
        ends.append(self._end)
        if len(ends) >= TOGETHER:
            self._ends.turn()
        self._columns.add(entry, role)

    def shelve(self, sheaf: Sheaf, kept: Items[int]) -> None:
        """Write what is compared of rows that have been added; `kept` are their numbers in the sheaf."""
        self._shelving.add(sheaf, kept)

    def spool(self, formats: Mapping[str, Recognised]) -> Spool:
        """Return what has been written, as a spool to look at; nothing may be added afterwards."""
        self._stream.flush()
        places = self._columns.places()
        columns, pages = self._ends.read()
        return Spool(
            path=self.path, places=places, alive=np.ones(len(places), bool), offsets=columns["ends"], formats=formats,
            shelves=self._shelving.shelves(), pages=pages,
        )  # fmt: skip
