"""Plain texts as sequences: windows of about equal length, in which every token but the very first is learnt once."""

from collections.abc import Sequence as Items

import numpy as np

from metier.core.errors import DataError
from metier.core.types import Sequence, TextRow
from metier.text.tokenizer import Tokenizer


def text_ids(rows: Items[TextRow], tokenizer: Tokenizer, *, special: bool) -> list[list[int] | DataError]:
    """Encode plain texts; one that is not Unicode spoils no other.

    Args:
        rows: any number of them.
        tokenizer: of the base.
        special: whether special tokens that stand in a text are read as such.
    """
    try:
        return list(tokenizer.encode_batch([row.text for row in rows], special=special))
    except DataError as error:
        if len(rows) == 1:
            return [error]
        return [ids for row in rows for ids in text_ids([row], tokenizer, special=special)]


def cut(row: TextRow, ids: list[int], tokenizer: Tokenizer, limit: int) -> tuple[Sequence, ...]:
    """Cut the ids of a text, closed by the end-of-text token, into windows of about equal length, at most `limit`.

    Each window begins with the BOS; without one, with the last token of the window before (as context). A text in
    which there is nothing to learn gives none.
    """
    bos, end = tokenizer.bos_id, tokenizer.end_of_text_id
    if ids[:1] == [bos]:  # written in the text itself, where special tokens in texts are wanted
        ids = ids[1:]
    closed = ids if end is None or ids[-1:] == [end] else [*ids, end]
    stream = np.asarray(closed if bos is None else [bos, *closed], np.int32)
    if not ids or len(stream) < 2 or row.weight <= 0:
        return ()
    count = -(-(len(stream) - 1) // (limit - 1))
    pieces = np.array_split(stream[1:], count)
    firsts = [stream[:1], *(stream[:1] if bos is not None else piece[-1:] for piece in pieces[:-1])]
    return tuple(_window(first, piece, row) for first, piece in zip(firsts, pieces, strict=True))


def _window(first: np.ndarray, piece: np.ndarray, row: TextRow) -> Sequence:
    ids = np.concatenate((first, piece))
    weights = np.full(len(ids), row.weight, np.float32)
    weights[0] = 0
    return Sequence(ids=ids, weights=weights, row_id=row.id, source=row.source)
