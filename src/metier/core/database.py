"""The project's database: SQLite in `.metier`, or what METIER_DATABASE names; SQLAlchemy is imported when it opens."""

import os
import sqlite3
from pathlib import Path
from typing import Any

from metier.core import extras
from metier.core.errors import RunError, SettingsError

ADDRESS = "METIER_DATABASE"
"""The environment variable that names another database, such as postgresql://user:password@host/name."""

_FILE = "metier.db"
_EXTRA = "registry"
_POSTGRES = "postgresql"
_PATIENCE_MS = 10_000
_ATTEMPTS = 5


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
        RunError: the database does not answer.
        MissingExtraError: its driver is not installed.
    """
    sql = extras.load("sqlalchemy", _EXTRA)
    url = _address(sql, store)
    is_file = url.get_backend_name() == "sqlite"
    try:
        # a statement's values are people's words and secrets: they stay out of errors, and so out of logs
        engine = sql.create_engine(url, pool_pre_ping=not is_file, hide_parameters=True)
    except (sql.exc.ArgumentError, ModuleNotFoundError) as error:
        raise SettingsError(f"{ADDRESS}: cannot be opened ({error})", "an address such as postgresql://…") from error
    if is_file:
        store.mkdir(parents=True, exist_ok=True)
        sql.event.listen(engine, "connect", _prepare_durable if durable else _prepare)
    _make(sql, engine, tables)
    return engine


def _address(sql: Any, store: Path) -> Any:
    """Return where the database is, with the driver that we bring where none is named."""
    named = os.environ.get(ADDRESS)
    if not named:
        return sql.engine.URL.create("sqlite", database=str(store / _FILE))
    try:
        url = sql.engine.make_url(named)
    except sql.exc.ArgumentError as error:
        raise SettingsError(f"{ADDRESS}: not an address", "one such as postgresql://user@host/name") from error
    if url.drivername in {_POSTGRES, "postgres"}:
        extras.require("postgres")
        return url.set(drivername=f"{_POSTGRES}+pg8000")
    return url


def _make(sql: Any, engine: Any, tables: Any) -> None:
    """Make what tables are missing. Of two processes that try at once the second looks again."""
    for attempt in range(_ATTEMPTS):
        try:
            tables.create_all(engine)
        except sql.exc.DBAPIError as error:
            if attempt + 1 < _ATTEMPTS and not isinstance(error, sql.exc.InterfaceError):
                continue
            where = engine.url.render_as_string(hide_password=True)
            reason = str(error.orig).splitlines()[0]
            raise RunError(f"{where}: {reason}", "a database that answers", f"start it, or unset {ADDRESS}") from error
        else:
            return


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
