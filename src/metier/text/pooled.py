"""Rows for a head: the prompt alone, with one label behind it, so that the last token of the prompt is what is read."""

from collections.abc import Mapping
from collections.abc import Sequence as Items
from dataclasses import replace

import numpy as np

from metier.core.errors import ModelError
from metier.core.types import Dropped, Row, Sequence
from metier.text.render import Renderer, render
from metier.text.rendered import Rendered, columns
from metier.text.targets import Targets


def pooled(rendered: Rendered, rows: Items[Row], targets: Targets, renderer: Renderer) -> Rendered:
    """Cut every rendered conversation before its last answer, and put what the head should say in its place.

    A sequence ends with a stop token that carries the one label: it is predicted from the prompt's last token, which
    is where `transformers` reads a head too. No model sees the answer.

    Args:
        rendered: the rows with their answers; of several sequences of a row the last one counts.
        rows: the same rows.
        targets: says what the head should say for each.
        renderer: gives the stop token.

    Raises:
        DataError: a row's label is unknown.
        ModelError: a prompt ends with the padding token, where plain `transformers` would read another place.
    """
    by_id = {row.id: row for row in rows}
    last = {row_id: number for number, row_id in enumerate(rendered.row_ids)}
    kept = sorted(last.values())
    sequences = [_cut(rendered.sequence(number), renderer) for number in kept]
    found = columns(sequences, rendered.dropped)
    return replace(found, targets=targets.vectors([by_id[sequence.row_id] for sequence in sequences]))


def pooled_row(row: Row, renderer: Renderer) -> Sequence | Dropped:
    """Return the sequence of one row without its target; see `pooled`."""
    found = render(row, renderer)
    return found if isinstance(found, Dropped) else _cut(found[-1], renderer)


def of_rows(rows: Items[Row], renderer: Renderer, targets: Targets) -> tuple[list[Sequence], Mapping[int, Dropped]]:
    """Return the sequences of the rows that can be rendered, in order, and those that cannot by their place."""
    found = [pooled_row(row, renderer) for row in rows]
    dropped = {place: entry for place, entry in enumerate(found) if isinstance(entry, Dropped)}
    sequences = [
        replace(entry, target=targets.vector(row))
        for row, entry in zip(rows, found, strict=True)
        if isinstance(entry, Sequence)
    ]
    return sequences, dropped


def _cut(sequence: Sequence, renderer: Renderer) -> Sequence:
    learnt = sequence.weights > 0
    ends = np.flatnonzero(learnt)
    breaks = np.flatnonzero(np.diff(ends) > 1)
    first = int(ends[breaks[-1] + 1] if len(breaks) else ends[0])
    stop, pad = renderer.tokenizer.stop_ids[0], renderer.tokenizer.pad_id
    if pad is not None and int(sequence.ids[first - 1]) == pad:
        raise ModelError(
            f"{sequence.source}: the prompt ends with the padding token {renderer.tokenizer.token(pad)!r}",
            "another last token: plain transformers looks for the last token that is no padding",
            "name a chat template that opens the answer with a token of its own (text.template)",
        )
    weights = np.zeros(first + 1, np.float32)
    weights[first] = sequence.weights[first]
    return replace(sequence, ids=np.append(sequence.ids[:first], np.int32(stop)).astype(np.int32), weights=weights)
