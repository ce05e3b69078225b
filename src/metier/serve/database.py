"""Opens the server's tables in the project's database."""

from pathlib import Path

import sqlalchemy as sql

from metier.core.database import open_database
from metier.serve.tables import META


def connect(store: Path) -> sql.Engine:
    """Open the database of a project and make the tables and columns that are missing."""
    engine = open_database(store, META)
    _complete(engine)
    return engine


def _complete(engine: sql.Engine) -> None:
    """Add the columns that a database of an earlier version lacks; what is in it stays, with nothing in them."""
    with engine.begin() as connection:
        known = sql.inspect(connection)
        for table in META.sorted_tables:
            there = {column["name"] for column in known.get_columns(table.name)}
            for column in table.columns:
                if column.name not in there:
                    kind = column.type.compile(engine.dialect)
                    connection.execute(sql.DDL(f'ALTER TABLE {table.name} ADD COLUMN "{column.name}" {kind}'))
