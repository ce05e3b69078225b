"""What a detector hands back: places in a text, made disjoint."""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, get_args

Entity = Literal[
    "secret", "email", "iban", "card", "national_id", "ip", "url", "address", "phone", "date", "person"
]  # fmt: skip
ENTITIES: tuple[Entity, ...] = get_args(Entity)
"""Every kind that can be found. Where two claim one place, the earlier in this list has it."""


class Span(NamedTuple):
    """The characters `start` to `end` of a text hold an `entity`."""

    start: int
    end: int
    entity: Entity


def disjoint(spans: Iterable[Span]) -> list[Span]:
    """Return spans that do not overlap, in order; of two that do, one keeps what the other does not cover.

    Nothing that was covered becomes uncovered: that is what a redaction may rely on.
    """
    found: list[Span] = []
    for group in _touching(sorted(set(spans))):
        found += group if len(group) == 1 else _parted(group)
    return found


def _touching(ordered: Iterable[Span]) -> Iterator[list[Span]]:
    """Yield spans that overlap, one after the other, together: few do, and only these have to be compared."""
    group: list[Span] = []
    end = 0
    for span in ordered:
        if group and span.start >= end:
            yield group
            group = []
        group.append(span)
        end = max(end, span.end)
    if group:
        yield group


def _parted(spans: Iterable[Span]) -> list[Span]:
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (ENTITIES.index(span.entity), span.start, -span.end)):
        pieces = [span]
        for other in kept:
            pieces = [rest for piece in pieces for rest in _without(piece, other)]
        kept += pieces
    return sorted(kept)


def _without(span: Span, other: Span) -> list[Span]:
    if other.end <= span.start or span.end <= other.start:
        return [span]
    left, right = Span(span.start, other.start, span.entity), Span(other.end, span.end, span.entity)
    return [piece for piece in (left, right) if piece.start < piece.end]


def places(text: str, word: str) -> Iterator[int]:
    """Yield where a word stands in a text, inside another word too; far faster than a regex."""
    place = text.find(word)
    while place >= 0:
        yield place
        place = text.find(word, place + len(word))
