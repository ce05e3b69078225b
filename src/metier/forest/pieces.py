"""Attention over a forest as a list of pieces, made once per forest: which queries meet which keys.

A place sees itself, what stands before it in its node, and all of every ancestor. Depth-first order makes both sides of
every meeting a run of neighbours, so that a piece is a slice and nothing is gathered.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Places start..start+length-1, with everything beneath them up to `end`; `depth`: tokens before the node."""

    start: int
    length: int
    end: int
    depth: int

    @property
    def stop(self) -> int:
        """First place after its own tokens."""
        return self.start + self.length


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Places start..stop-1 of a forest stand beneath places key_start..key_stop-1 of its trunk."""

    start: int
    stop: int
    key_start: int
    key_stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Queries start..stop-1 meet keys key_start..key_stop-1 (of the trunk when `held`).

    `own`: both are the same node, so a query sees keys up to its own place; `count` nodes of equal length side by side.
    `places`: where the queries stand among all places; None: they are the places start..stop-1 themselves.
    """

    start: int
    stop: int
    key_start: int
    key_stop: int
    own: bool = False
    count: int = 1
    held: bool = False
    places: tuple[int, ...] | None = None


def attention_pieces(nodes: Many[Node], links: Many[Link]) -> tuple[Piece, ...]:
    """Return the pieces for queries at every place.

    First each node with itself, so that every place is in exactly one `own` piece; then what is beneath with what is
    above.
    """
    pieces: list[Piece] = []
    for node in nodes:
        last = pieces[-1] if pieces else None
        if last is not None and last.stop == node.start and (last.stop - last.start) == last.count * node.length:
            start = last.start
            pieces[-1] = Piece(
                start=start, stop=node.stop, key_start=start, key_stop=node.stop, own=True, count=last.count + 1
            )
        else:
            pieces.append(Piece(start=node.start, stop=node.stop, key_start=node.start, key_stop=node.stop, own=True))
    pieces += [
        Piece(start=node.stop, stop=node.end, key_start=node.start, key_stop=node.stop)
        for node in nodes
        if node.end > node.stop
    ]
    return (*pieces, *(_of_link(link, link.start, link.stop) for link in links))


def label_pieces(nodes: Many[Node], links: Many[Link], source: np.ndarray) -> tuple[Piece, ...]:
    """Return the pieces for queries at the places `source` int64 [Q] (ascending) only; keys stay where they are."""
    pieces: list[Piece] = []

    def among(start: int, stop: int) -> tuple[int, int]:
        first, last = np.searchsorted(source, (start, stop)).tolist()
        return first, last

    for node in nodes:
        first, last = among(node.start, node.stop)
        if last > first:
            # keys after the last query are seen by none
            key_stop = int(source[last - 1]) + 1
            places = tuple(source[first:last].tolist())
            pieces.append(
                Piece(start=first, stop=last, key_start=node.start, key_stop=key_stop, own=True, places=places)
            )
    for node in nodes:
        first, last = among(node.stop, node.end)
        if last > first:
            pieces.append(Piece(start=first, stop=last, key_start=node.start, key_stop=node.stop))
    for link in links:
        first, last = among(link.start, link.stop)
        if last > first:
            pieces.append(_of_link(link, first, last))
    return tuple(pieces)


def _of_link(link: Link, start: int, stop: int) -> Piece:
    return Piece(start=start, stop=stop, key_start=link.key_start, key_stop=link.key_stop, held=True)
