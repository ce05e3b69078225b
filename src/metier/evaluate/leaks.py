"""Held-out rows that stand in the training rows as well: whoever learnt them by heart has them right; no torch."""

import unicodedata
from collections.abc import Sequence
from typing import Any

from metier.core.types import ChatRow, LabelledRow, Row

_NAMED = 20


def found(rows: Sequence[Row], train: Sequence[Row]) -> dict[str, Any]:
    """Return which held-out rows are training rows, case, spaces, forms of letters and the system turn aside.

    Returns:
        `rows`, their number; `sources`, the first of them; `share` of all held-out rows.
    """
    known = {_plain(row) for row in train} - {""}
    hits = [row.source for row in rows if _plain(row) in known]
    return {"rows": len(hits), "sources": hits[:_NAMED], "share": len(hits) / max(1, len(rows))}


def _plain(row: Row) -> str:
    if isinstance(row, LabelledRow):
        parts = [row.text, row.label]
    elif isinstance(row, ChatRow):
        parts = [turn.content for turn in row.messages if turn.role not in ("system", "developer")]
    else:
        return ""
    return "\x00".join(" ".join(unicodedata.normalize("NFKC", part).casefold().split()) for part in parts)
