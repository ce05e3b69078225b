"""Exact de-duplication: rows that are learnt in the same way have the same id, and the first of them is kept."""

from pathlib import Path

from metier.core.types import Dropped
from metier.prepare.candidate import Role
from metier.prepare.first import First

RULE = "duplicates.exact"


class Exact:
    """Remembers what it has seen over all files; the held-out files must come first.

    Held-out rows are never dropped (a file that the user names is taken whole), and no copy of one stays in training.
    Where copies are kept they get ids of their own, so that every later number belongs to one row.

    Args:
        folder: for what it remembers.
        enabled: drop copies inside the training rows.
    """

    def __init__(self, folder: Path, *, enabled: bool) -> None:
        self._enabled = enabled
        self._first = First(folder)
        self._copies: dict[str, int] = {}

    def judge(self, row_id: str, source: str, role: Role, *, spared: bool) -> str | Dropped:
        """Return the id that a row goes on with, or what stands for a copy."""
        first, first_role = self._first.setdefault(row_id, source, role)
        if first == source:
            return row_id
        if role == "train" and (first_role != "train" or (self._enabled and not spared)):
            reason = "copy of another row" if first_role == "train" else f"copy of a {first_role} row"
            return Dropped(source=source, reason=reason, detail=f"the same as {first}", rule=RULE, row_id=row_id)
        copies = self._copies[row_id] = self._copies.get(row_id, 0) + 1
        return f"{row_id}-{copies}"
