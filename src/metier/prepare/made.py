"""How a row that a program made is written for the user: in the columns of the project, and marked as what it is."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from metier.core.types import Row
from metier.text.canonical import AS, record_of


def made_line(row: Row, said: Mapping[str, Any], origin: Sequence[str], columns: Mapping[Any, str]) -> str:
    """Return one JSON line.

    Args:
        row: what was made; whatever it says of itself, it is written as synthetic.
        said: how it was made (method, model …).
        origin: the `file:line` of the rows it was made from.
        columns: `prepare.columns`, so that it is read as the project's other files are.
    """
    record = record_of(replace(row, synthetic=True))
    record.pop(AS)
    record.pop("synthetic")
    named = {columns.get(role, role): value for role, value in record.items()}
    marked = {**named, columns.get("synthetic", "synthetic"): True, **said, "origin": list(origin)}
    return json.dumps(marked, ensure_ascii=False) + "\n"
