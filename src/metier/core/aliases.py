"""Which version an alias (`production`, `candidate`, any) means, and has meant: moves in the database, never changed.

Every move of an alias is one row, numbered by steps. Two processes that move it at once want the same step; the
database lets one have it and the other looks again. So history is a line, and a move is there whole or not at all.
"""

import getpass
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from metier.core import extras
from metier.core.database import explained, open_database
from metier.core.errors import BusyError, InputError

_ATTEMPTS = 100
_LONGEST_REASON = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A move of an alias to the version `number`. `below`: the step that a rollback goes back to, None at the first.

    `time` in seconds since 1970; `reason`: what a person said about it, "" where nothing had to be said.
    """

    name: str
    alias: str
    step: int
    number: int
    kind: Literal["promoted", "rolled back"]
    below: int | None
    time: float
    by: str
    reason: str


class Aliases:
    """The aliases of a project.

    Args:
        store: the project's `.metier`.
    """

    def __init__(self, store: Path) -> None:
        sql = extras.load("sqlalchemy", "registry")
        meta = sql.MetaData()
        self._sql = sql
        self._moves = sql.Table(
            "alias_moves",
            meta,
            sql.Column("name", sql.String(64), primary_key=True),
            sql.Column("alias", sql.String(64), primary_key=True),
            sql.Column("step", sql.Integer, primary_key=True),
            sql.Column("number", sql.Integer, nullable=False),
            sql.Column("kind", sql.String(16), nullable=False),
            sql.Column("below", sql.Integer),
            sql.Column("time", sql.Double, nullable=False),
            sql.Column("by", sql.String(64), nullable=False),
            sql.Column("reason", sql.Text, nullable=False),
        )
        self._engine = open_database(store, meta, durable=True)

    def __enter__(self) -> "Aliases":
        """Open the database for the length of a block."""
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Close every connection."""
        self._engine.dispose()

    def current(self, name: str, alias: str) -> Move | None:
        """Return the last move of an alias; None: it was never given."""
        found = self._read(self._moves.c.name == name, self._moves.c.alias == alias)
        return found[-1] if found else None

    def all(self) -> dict[tuple[str, str], Move]:
        """Return the last move of every alias, by (name, alias)."""
        return {(move.name, move.alias): move for move in self._read()}

    def history(self, name: str) -> list[Move]:
        """Return every move of the aliases of a name, the oldest first."""
        return sorted(self._read(self._moves.c.name == name), key=lambda move: (move.time, move.step))

    def point(self, name: str, alias: str, number: int, *, reason: str = "") -> Move:
        """Let an alias mean a version. Where it does already, nothing is written and the last move is returned.

        Raises:
            BusyError: others move it all the time.
        """

        def next_move(last: Move | None) -> Move:
            if last is not None and last.number == number:
                return last
            step, below = (1, None) if last is None else (last.step + 1, last.step)
            return self._move(name, alias, step=step, number=number, kind="promoted", below=below, reason=reason)

        return self._append(name, alias, next_move)

    def back(self, name: str, alias: str, *, allowed: Callable[[int], object], reason: str = "") -> Move:
        """Let an alias mean again what it meant before its last promotion; once more, what it meant before that.

        Args:
            name: of the versions.
            alias: of that name.
            allowed: called with the number of the version before; raises where it may not be used.
            reason: kept in the history.

        Raises:
            InputError: the alias was never given, or it means the first version that it ever meant.
        """

        def next_move(last: Move | None) -> Move:
            if last is None:
                raise InputError(f"{name}@{alias}: no such alias", "one that metier versions lists")
            if last.below is None:
                raise InputError(f"{name}@{alias}: nothing before {name}@{last.number}", "an earlier promotion")
            before = self._at(name, alias, last.below)
            allowed(before.number)
            return self._move(
                name, alias, step=last.step + 1, number=before.number, kind="rolled back", below=before.below,
                reason=reason,
            )  # fmt: skip

        return self._append(name, alias, next_move)

    def _append(self, name: str, alias: str, next_move: Callable[[Move | None], Move]) -> Move:
        for _ in range(_ATTEMPTS):
            last = self.current(name, alias)
            move = next_move(last)
            if last is not None and move.step == last.step:
                return last
            try:
                with explained(self._engine), self._engine.begin() as connection:
                    connection.execute(self._moves.insert().values(**asdict(move)))
            except self._sql.exc.IntegrityError:
                continue  # another process took this step: look again
            return move
        raise BusyError(f"{name}@{alias}: moved by others all the time", "one at a time", "run the same command again")

    def _move(self, name: str, alias: str, **facts: Any) -> Move:
        reason = facts.pop("reason")[:_LONGEST_REASON]
        return Move(name=name, alias=alias, time=time.time(), by=_who(), reason=reason, **facts)

    def _at(self, name: str, alias: str, step: int) -> Move:
        columns = self._moves.c
        return self._read(columns.name == name, columns.alias == alias, columns.step == step)[0]

    def _read(self, *conditions: Any) -> list[Move]:
        query = self._sql.select(self._moves).where(*conditions).order_by(self._moves.c.step)
        with explained(self._engine), self._engine.connect() as connection:
            return [Move(**row) for row in connection.execute(query).mappings()]


def _who() -> str:
    """Return the user's name, "" where the system has none."""
    try:
        return getpass.getuser()[:64]
    except (KeyError, OSError, ImportError):  # what getpass raises for a user id that nobody has differs by version
        return ""
