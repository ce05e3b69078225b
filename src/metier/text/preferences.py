"""Preferences as sequences: the better and the worse answer behind the same prompt, side by side."""

from collections.abc import Mapping
from collections.abc import Sequence as Items
from dataclasses import replace

from metier.core.errors import DataError
from metier.core.types import PreferenceRow, Row
from metier.text.proof import paint
from metier.text.render import Renderer
from metier.text.rendered import Rendered, columns


def turned(row: Row) -> Row:
    """Return a preference with its answers changed over, so that the worse one is rendered; other rows as they are."""
    return replace(row, chosen=row.rejected, rejected=row.chosen) if isinstance(row, PreferenceRow) else row


def answered(row: Row) -> Row:
    """Return a preference as the conversation with its better answer; other rows as they are."""
    return row.better if isinstance(row, PreferenceRow) else row


def painted(row: Row, renderer: Renderer) -> list[tuple[str, bool]]:
    """Return a row as the model reads it and what it learns there; behind a preference stands its worse answer.

    Raises:
        ProofError: see `render.render`.
    """
    if not isinstance(row, PreferenceRow):
        return paint(row, renderer)
    return [*paint(row, renderer), ("\n\n[worse:]\n", False), *paint(turned(row), renderer)]


def require_preferences(rows: Items[Row]) -> None:
    """Check that every row has two answers.

    Raises:
        DataError: one has not.
    """
    other = next((row for row in rows if not isinstance(row, PreferenceRow)), None)
    if other is not None:
        raise DataError(
            f"{other.source}: a row without a better and a worse answer", "preferences only, for the objective prefer",
            "take the other rows out, or set train.objective: chat, which learns the better answers as they stand",
        )  # fmt: skip


def paired(better: Rendered, worse: Rendered) -> Rendered:
    """Put the worse answer of every row behind its better one; rows of which one was dropped are left out.

    Returns:
        2 P sequences: those with even numbers the better answers, the odd ones the worse of the same rows.

    Raises:
        DataError: an answer became several sequences, so that it has no one probability.
    """
    first, second = _by_row(better), _by_row(worse)
    kept = [row for row in first if row in second]
    sequences = [each for row in kept for each in (better.sequence(first[row]), worse.sequence(second[row]))]
    gone = {entry.source for entry in better.dropped}
    return columns(sequences, (*better.dropped, *(entry for entry in worse.dropped if entry.source not in gone)))


def _by_row(rendered: Rendered) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for number, row in enumerate(rendered.row_ids):
        if row in found:
            raise DataError(
                f"{rendered.sources[number]}: its answer becomes several sequences, as the template rewrites turns",
                "one answer with one probability", "name another template (text.template), or end it after one turn",
            )  # fmt: skip
        found[row] = number
    return found
