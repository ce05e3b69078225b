"""Rows out of a database: the answer to a query is written to a file first, so that a snapshot rests on bytes."""

import json
import os
import re
from pathlib import Path
from typing import Any

from metier.core import artefact, digest, extras
from metier.core.errors import DataError
from metier.prepare.reading.column_store import plain
from metier.prepare.reading.settings import QuerySettings

FILE = "rows.jsonl"
_BATCH_ROWS = 1000
_PASSWORD = re.compile(r"://([^:/@]+):[^@]*@")


def fetch(settings: QuerySettings, store: Path) -> Path:
    """Ask the database and keep what it answers as JSON Lines below `store`.

    Raises:
        MissingExtraError: the extra 'sql' is not installed.
        DataError: the URL or the query is wrong, or the query answers nothing.
    """
    library = extras.load("sqlalchemy", "sql")
    url = _address(settings.sql)
    target = store / "imports" / f"{settings.name}-{digest.of_value([url, settings.query])[:8]}"
    with artefact.publish(target, kind="import", facts={"query": settings.query}) as folder:
        try:
            engine = library.create_engine(url)
            with engine.connect() as connection, (folder / FILE).open("w", encoding="utf-8", newline="\n") as out:
                answer = connection.execution_options(stream_results=True).execute(library.text(settings.query))
                count = sum(_written(out, row) for batch in answer.mappings().partitions(_BATCH_ROWS) for row in batch)
            engine.dispose()
        except (library.exc.SQLAlchemyError, ImportError, OSError, TypeError, ValueError) as error:
            raise _failed(settings, error) from error
        if not count:
            raise DataError(f"{_shown(settings)}: no rows", "at least one")
    return target / FILE


def _address(url: str) -> str:
    """Return the URL, taken from the environment when it is written `$NAME`: passwords do not belong into files."""
    if not url.startswith("$"):
        return url
    found = os.environ.get(url[1:])
    if not found:
        raise DataError(f"data: {url} is not set in the environment", "a database's URL", f"export {url[1:]}=…")
    return found


def _written(out: Any, row: Any) -> int:
    value = {str(name): _cell(cell) for name, cell in row.items()}
    out.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
    return 1


def _cell(cell: Any) -> Any:
    found = plain(cell)
    return found if found is None or isinstance(found, str | int | float | bool | list | dict) else str(found)


def _shown(settings: QuerySettings) -> str:
    return f"query {' '.join(settings.query.split())[:60]!r}"


def _failed(settings: QuerySettings, error: Exception) -> DataError:
    told = _PASSWORD.sub(r"://\1:***@", " ".join(str(error).split("\n")[0].split()))[:200]
    do = ""
    if isinstance(error, ImportError):
        do = "install the driver that the URL names, for example psycopg for postgresql+psycopg://"
    return DataError(f"{_shown(settings)}: {told}", "a SQLAlchemy URL and a query that answers with rows", do)
