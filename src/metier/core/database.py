"""The project's database: SQLite in `.metier`, or what METIER_DATABASE names; SQLAlchemy is imported when it opens.

Several projects may share one server. Each has a schema of its own there, so that no project sees another's versions,
keys, jobs or traces, and no statement can forget to ask whose they are.
"""

import errno
import os
import re
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metier.core import artefact, extras, lock, room
from metier.core.errors import BusyError, DataError, MetierError, RunError, SettingsError

ADDRESS = "METIER_DATABASE"
"""The environment variable that names another database, such as postgresql://user:password@host/name. Machines that
share one project add ?schema=NAME, the same on each; else the schema is one that the project made up for itself."""

_FILE = "metier.db"
_EXTRA = "registry"
_POSTGRES = "postgresql"
_PATIENCE_MS = 10_000
_ATTEMPTS = 5
_SCHEMA = re.compile(r"[a-z][a-z0-9_]{0,40}")


def open_database(store: Path, tables: Any, *, durable: bool = False) -> Any:
    """Open the database of a project and make the tables that are missing.

    Args:
        store: the project's `.metier`.
        tables: an sqlalchemy.MetaData.
        durable: a transaction that was committed outlives a power cut too; costs a sync for each (SQLite; PostgreSQL
            does so always).

    Returns:
        An sqlalchemy.Engine.

    Raises:
        SettingsError: METIER_DATABASE names no database that can be opened.
        RunError: the database does not answer, or its file cannot be written.
        DataError: its file is damaged.
        MissingExtraError: its driver is not installed.
    """
    sql = extras.load("sqlalchemy", _EXTRA)
    url, schema = _address(sql, store)
    is_file = url.get_backend_name() == "sqlite"
    try:
        # a statement's values are people's words and secrets: they stay out of errors, and so out of logs
        engine = sql.create_engine(url, pool_pre_ping=not is_file, hide_parameters=True)
    except (sql.exc.ArgumentError, ModuleNotFoundError) as error:
        raise SettingsError(f"{ADDRESS}: cannot be opened ({error})", "an address such as postgresql://…") from error
    if is_file:
        store.mkdir(parents=True, exist_ok=True)
        sql.event.listen(engine, "connect", _prepare_durable if durable else _prepare)
    else:
        sql.event.listen(engine, "connect", _in_schema(schema), insert=True)
    _make(sql, engine, tables, schema="" if is_file else schema)
    return engine


def _address(sql: Any, store: Path) -> tuple[Any, str]:
    """Return where the database is, with the driver that we bring where none is named, and the schema there."""
    named = os.environ.get(ADDRESS)
    if not named:
        return sql.engine.URL.create("sqlite", database=str(store / _FILE)), ""
    try:
        url = sql.engine.make_url(named)
    except sql.exc.ArgumentError as error:
        raise SettingsError(f"{ADDRESS}: not an address", "one such as postgresql://user@host/name") from error
    if url.drivername in {_POSTGRES, "postgres"}:
        extras.require("postgres")
        url = url.set(drivername=f"{_POSTGRES}+pg8000")
    schema = _schema(url.query.get("schema"), store)
    url = url.difference_update_query(["schema"])
    if url.get_backend_name() == "sqlite" and url.database:  # it has no schemas: a file for each
        path = Path(url.database)
        url = url.set(database=str(path.with_name(f"{path.stem}-{schema}{path.suffix}")))
    return url, schema


def _schema(named: Any, store: Path) -> str:
    """Return the schema of a project: the one that the address names, or one that is made up once and kept.

    Raises:
        SettingsError: that is no name of a schema.
    """
    if named is not None:
        if not _SCHEMA.fullmatch(str(named)):
            raise SettingsError(f"{ADDRESS}: schema {str(named)[:80]!r}", "small letters, digits and _, at most 41")
        return str(named)
    folder = store / "database"
    with lock.held(folder, wait=True):
        kept = folder / "schema"
        if not kept.is_file():
            artefact.write_file(kept, f"metier_{secrets.token_hex(6)}")
        return kept.read_text(encoding="utf-8")


def _in_schema(schema: str) -> Any:
    """Return what lets a new connection see one schema only."""

    def prepare(connection: Any, record: Any) -> None:
        before, connection.autocommit = connection.autocommit, True
        cursor = connection.cursor()
        cursor.execute(f'SET SESSION search_path TO "{schema}"')
        cursor.close()
        connection.autocommit = before

    return prepare


def _make(sql: Any, engine: Any, tables: Any, *, schema: str) -> None:
    """Make what tables are missing. Of two processes that try at once the second looks again."""
    for attempt in range(_ATTEMPTS):
        try:
            if schema:
                with engine.begin() as connection:
                    connection.exec_driver_sql(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
            tables.create_all(engine)
        except sql.exc.DBAPIError as error:
            if attempt + 1 < _ATTEMPTS and not isinstance(error, sql.exc.InterfaceError):
                continue
            raise _known(engine, error) or _unanswered(engine, error) from error
        else:
            return


@contextmanager
def explained(engine: Any) -> Iterator[None]:
    """Tell inside the block what no statement is to blame for: a damaged file, a full disk, a server that went away.

    Raises:
        DataError: the file is damaged.
        RunError: it cannot be written, or the server does not answer.
        BusyError: another process writes all the time.
    """
    sql = extras.load("sqlalchemy", _EXTRA)
    try:
        yield
    except sql.exc.DBAPIError as error:
        known = _known(engine, error)
        if known is None and isinstance(error, (sql.exc.InterfaceError, sql.exc.OperationalError)):
            known = None if _is_file(engine) else _unanswered(engine, error)
        if known is None:
            raise
        raise known from error


def _is_file(engine: Any) -> bool:
    return engine.url.get_backend_name() == "sqlite"


def _unanswered(engine: Any, error: Any) -> MetierError:
    if _is_file(engine):  # one whose header says nothing that SQLite knows
        return _damaged(Path(engine.url.database), str(error.orig))
    where = engine.url.render_as_string(hide_password=True)
    reason = str(error.orig).splitlines()[0]
    return RunError(f"{where}: {reason}", "a database that answers", f"start it, or unset {ADDRESS}")


def _known(engine: Any, error: Any) -> MetierError | None:
    """Return what SQLite says of its file; None: it says nothing of it."""
    if not isinstance(error.orig, sqlite3.Error) or not _is_file(engine):
        return None
    path, code = Path(engine.url.database), error.orig.sqlite_errorcode & 0xFF  # the rest says more of the same
    match code:
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return _damaged(path, str(error.orig))
        case sqlite3.SQLITE_FULL:
            return room.explained(path, errno.ENOSPC)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return BusyError(
                f"{path}: another process has been writing for {_PATIENCE_MS // 1000} seconds", "one writer at a time",
                "run the same command again",
            )  # fmt: skip
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_IOERR:
            return RunError(
                f"{path}: cannot be read or written ({error.orig})", "a file in a folder that this user may write",
                "look at the rights, the room and the limits (`ulimit -a`) there, and run the same command again",
            )  # fmt: skip
    return None


def _damaged(path: Path, words: str) -> DataError:
    """Say what is lost with a database and what is not, and how what can still be read is saved."""
    return DataError(
        f"{path}: damaged ({words})",
        "the SQLite database of this project: what aliases mean, and what `metier serve` keeps",
        f"stop what uses it and put it back from a copy, without {path.name}-wal and {path.name}-shm. No copy: move "
        "all three aside, keep them, and save what can be read: "
        f"`sqlite3 MOVED .dump | sed 's/^ROLLBACK.*/COMMIT;/' | sqlite3 {path.name}`. "
        "Snapshots, runs and versions are files of their own; versions/NAME/history.jsonl says what every alias meant",
    )


def _prepare(connection: sqlite3.Connection, record: Any) -> None:
    """Set a connection up so that readers and one writer do not wait for each other, and writers wait their turn."""
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_PATIENCE_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _prepare_durable(connection: sqlite3.Connection, record: Any) -> None:
    _prepare(connection, record)
    connection.execute("PRAGMA synchronous=FULL")
