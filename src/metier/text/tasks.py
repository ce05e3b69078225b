"""Tasks: what a grader is shown of a row beside the model's answer."""

import json
from collections.abc import Sequence as Items
from typing import Any

from metier.core.errors import DataError
from metier.core.types import ChatRow, JudgedRow, LabelledRow, PreferenceRow, Row, TaskRow, TextRow
from metier.text.formats.columns import is_reference

ASKING = (TaskRow, ChatRow, LabelledRow, PreferenceRow)
"""Rows that ask something, of which there is a prompt."""


def item(row: Row) -> dict[str, Any]:
    """Return the row's own columns, which templates of graders name as `item.…`; only a task has them."""
    return dict(row.checker) if isinstance(row, TaskRow) else {}


def reference(row: TaskRow) -> str:
    """Return the right answer of a task, as text: its first column that bears the name of one; "" without."""
    found = next((value for name, value in row.checker.items() if is_reference(name)), "")
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def require_prompts(rows: Items[Row]) -> None:
    """Check that every row asks something.

    Raises:
        DataError: one does not.
    """
    other = next((row for row in rows if not isinstance(row, ASKING)), None)
    if other is not None:
        kind = {TextRow: "plain text", JudgedRow: "a judged row"}[type(other)]
        raise DataError(
            f"{other.source}: {kind}", "rows that ask something: tasks, conversations, texts with labels",
            "take these rows out, or set train.objective: chat",
        )  # fmt: skip
