"""Finds what is in a whole row, names it found in one turn in all others too, and writes what stands in for it."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

from metier.core.types import Row
from metier.prepare.protect.detect import Detector
from metier.prepare.protect.gazetteer import gazetteer
from metier.prepare.protect.passages import Passage, mapped, passages
from metier.prepare.protect.spans import Entity, Span, disjoint, places
from metier.prepare.protect.surrogates import is_surrogate_name

Stand = Callable[[str, Entity], str]
"""Returns what is to stand in for a value."""

_SHORT = 200
_FEW = 16
_WORD = re.compile(r"[^\W_]+")
_LABEL_SAFE: Collection[Entity] = ("secret", "email", "iban", "card", "national_id", "ip", "phone")
"""What a class may not be called; names and places are ordinary classes."""


def findings(rows: Sequence[Row], detect: Detector, allow: Collection[str] = ()) -> Iterator["Finding"]:
    """Yield what stands where in each row; allowed values are not found. Several rows are faster than one by one."""
    every = [passages(row) for row in rows]
    found = iter(detect.many([_told(passage) for each in every for passage in each]))
    for row, each in zip(rows, every, strict=True):
        yield Finding(row, each, [_found(passage, next(found), allow) for passage in each])


class Finding:
    """What stands where in the texts of one row.

    Args:
        row: which.
        passages: its texts.
        spans: what is found in each.
    """

    def __init__(self, row: Row, passages: Sequence[Passage], spans: list[Sequence[Span]]) -> None:
        self.row, self.passages, self.spans = row, passages, spans
        if any(spans):
            self._spread()

    @staticmethod
    def of(row: Row, detect: Detector, allow: Collection[str] = ()) -> "Finding":
        """Return what stands where in one row."""
        return next(findings([row], detect, allow))

    def counts(self) -> Counter[Entity]:
        """Count values by kind."""
        return Counter(span.entity for spans in self.spans for span in spans)

    def rewritten(self, stand: Stand) -> Row:
        """Return the row with everything found replaced."""
        fresh = iter(
            [_replaced(passage.text, spans, stand) for passage, spans in zip(self.passages, self.spans, strict=True)]
        )
        return mapped(self.row, lambda passage: next(fresh))

    def _spread(self) -> None:
        """Look for what was found in one text in all texts of the row: whole values, and parts of names."""
        whole: dict[str, Entity] = {}
        parts: dict[str, Entity] = {}
        for passage, spans in zip(self.passages, self.spans, strict=True):
            for span in spans:
                value = passage.text[span.start : span.end]
                whole[value] = span.entity
                if span.entity == "person":
                    parts.update((part, span.entity) for part in _parts(value))
        for place, passage in enumerate(self.passages):
            known = (
                {value: kind for value, kind in whole.items() if value == passage.text}
                if passage.is_label
                else parts | whole
            )
            more = [Span(*where, known[value]) for value, where in _whole_places(passage.text, known)]
            if not set(self.spans[place]).issuperset(more):
                self.spans[place] = disjoint([*self.spans[place], *more])


def _told(passage: Passage) -> str:
    """Return a text behind the key under which it stands, which may say what it is."""
    return f"{passage.key}: {passage.text}" if _is_keyed(passage) else passage.text


def _is_keyed(passage: Passage) -> bool:
    return bool(passage.key) and len(passage.text) < _SHORT


def _found(passage: Passage, spans: Sequence[Span], allow: Collection[str]) -> Sequence[Span]:
    if _is_keyed(passage):
        shift = len(passage.key) + 2
        spans = [Span(max(0, start - shift), end - shift, kind) for start, end, kind in spans if end > shift]
    if passage.is_label:
        spans = [span for span in spans if span.entity in _LABEL_SAFE]
    if allow and spans:
        spans = [span for span in spans if not _allowed(passage.text[span.start : span.end].lower(), allow)]
    return spans


def _allowed(value: str, allow: Collection[str]) -> bool:
    return value in allow or ("@" in value and value[value.index("@") :] in allow)


def _parts(name: str) -> list[str]:
    """Return the words of a name that may stand for the person alone."""
    stop = gazetteer().stop
    words = [word.strip(".,'\u2019") for word in name.replace("-", " ").split()]
    return [word for word in words if len(word) > 2 and word.lower() not in stop and not is_surrogate_name(word)]


def _whole_places(text: str, values: Collection[str]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield where values stand in a text, no part of a longer word: each sought, or where there are many, all at once.

    Then they are known by their first word and their length, and what stands at each word of the text is looked up.
    """
    known: dict[str, set[tuple[int, int]]] = {}
    for value in values:
        if len(values) > _FEW and (first := _WORD.search(value)):
            known.setdefault(first.group(), set()).add((first.start(), len(value)))
            continue
        for place in places(text, value):
            if _is_whole(text, place, place + len(value)):
                yield value, (place, place + len(value))
    ends: dict[str, int] = {}
    for word in _WORD.finditer(text) if known else ():
        for before, size in known.get(word.group(), ()):
            place = word.start() - before
            value = text[max(place, 0) : place + size]
            if len(value) == size and value in values and place >= ends.get(value, 0):
                if not _is_whole(text, place, place + size):
                    continue
                ends[value] = place + size
                yield value, (place, place + size)


def _is_whole(text: str, start: int, end: int) -> bool:
    return not text[start - 1 : start].isalnum() and not text[end : end + 1].isalnum()


def _replaced(text: str, spans: Sequence[Span], stand: Stand) -> str:
    if not spans:
        return text
    pieces, end = [], 0
    for span in spans:
        pieces += [text[end : span.start], stand(text[span.start : span.end], span.entity)]
        end = span.end
    return "".join([*pieces, text[end:]])
