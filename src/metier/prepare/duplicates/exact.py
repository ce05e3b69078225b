"""Exact de-duplication: rows that are learnt in the same way have the same id, and the first of them is kept."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from metier.core.types import Dropped
from metier.prepare.candidate import Candidate
from metier.prepare.first import First

RULE = "duplicates.exact"


class Exact:
    """A stage that remembers what it has seen over all files; the held-out files must come first.

    Held-out rows are never dropped (a file that the user names is taken whole), and no copy of one stays in training.
    Where copies are kept they get ids of their own, so that every later number belongs to one row.

    Args:
        enabled: drop copies inside the training rows.
    """

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._first = First()
        self._copies: dict[str, int] = {}

    def __call__(self, items: Iterable[Candidate | Dropped]) -> Iterator[Candidate | Dropped]:
        """Pass rows on; turn copies into drops."""
        for item in items:
            yield item if isinstance(item, Dropped) else self._judge(item)

    def _judge(self, item: Candidate) -> Candidate | Dropped:
        row_id = item.row.id
        first = self._first.setdefault(row_id, item.row.source, item.role)
        if first[0] == item.row.source:
            return item
        source, role = first
        if item.role == "train" and (role != "train" or (self._enabled and not item.spared)):
            reason = "copy of another row" if role == "train" else f"copy of a {role} row"
            detail = f"the same as {source}"
            return Dropped(source=item.row.source, reason=reason, detail=detail, rule=RULE, row_id=row_id)
        copies = self._copies[row_id] = self._copies.get(row_id, 0) + 1
        return item._replace(row=replace(item.row, id=f"{row_id}-{copies}"))
