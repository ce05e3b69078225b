"""General rows to train on beside a project's own (`train.regularise.replay`), out of a file; imports no torch.

The bundled ones, `general.jsonl`, were written for this purpose or by the recipe of the bundled base; none of them is
among the general texts that evaluation measures forgetting on.
"""

import json
from pathlib import Path

from metier.core.errors import DataError
from metier.core.types import Dropped, Row
from metier.text.formats import recognise, to_row
from metier.train.settings import RegulariseSettings

BUNDLED = Path(__file__).parent / "general.jsonl"


def path_of(settings: RegulariseSettings) -> Path:
    """Return the file that general rows come from."""
    return Path(settings.replay_file) if settings.replay_file is not None else BUNDLED


def read(path: Path) -> list[Row]:
    """Read rows of any recognised form from a JSON Lines file; the form may change from line to line."""
    if not path.is_file():
        raise DataError(f"{path}: no such file", "general rows as JSON Lines", "train.regularise.replay_file names it")
    rows: list[Row] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            row = _row(line, f"{path.name}:{number}")
            if not isinstance(row, Dropped):
                rows.append(row)
    return rows


def _row(line: str, source: str) -> Row | Dropped:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise DataError(f"{source}: {error}", "one JSON object a line") from error
    if not isinstance(record, dict):
        raise DataError(f"{source}: a {type(record).__name__}", "one JSON object a line")
    return to_row(record, recognise([record], where=source), source=source)
