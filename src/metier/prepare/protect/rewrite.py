"""Finds what is in a whole row, names it found in one turn in all others too, and writes what stands in for it."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from metier.core.types import Row
from metier.prepare.protect.detect import Detector
from metier.prepare.protect.gazetteer import gazetteer
from metier.prepare.protect.passages import Passage, mapped, passages
from metier.prepare.protect.spans import Entity, Span, disjoint, places
from metier.prepare.protect.surrogates import is_surrogate_name

Stand = Callable[[str, Entity], str]
"""Returns what is to stand in for a value."""

_LABEL_SAFE: Collection[Entity] = ("secret", "email", "iban", "card", "national_id", "ip", "phone")
"""What a class may not be called; names and places are ordinary classes."""


class Finding:
    """What stands where in the texts of one row. Allowed values are not found."""

    def __init__(self, row: Row, detect: Detector, allow: Collection[str] = ()) -> None:
        self.row = row
        self.passages = passages(row)
        self.spans = [_found(passage, detect, allow) for passage in self.passages]
        if any(self.spans):
            self._spread()

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
            more = [Span(*where, kind) for value, kind in known.items() for where in _whole_places(passage.text, value)]
            if not set(self.spans[place]).issuperset(more):
                self.spans[place] = disjoint([*self.spans[place], *more])


def _found(passage: Passage, detect: Detector, allow: Collection[str]) -> Sequence[Span]:
    text, shift = passage.text, 0
    if passage.key and len(text) < 200:
        text, shift = f"{passage.key}: {text}", len(passage.key) + 2
    spans: Sequence[Span] = detect(text)
    if shift:
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


def _whole_places(text: str, value: str) -> list[tuple[int, int]]:
    size = len(value)
    return [
        (place, place + size)
        for place in places(text, value)
        if not text[place - 1 : place].isalnum() and not text[place + size : place + size + 1].isalnum()
    ]


def _replaced(text: str, spans: Sequence[Span], stand: Stand) -> str:
    if not spans:
        return text
    pieces, end = [], 0
    for span in spans:
        pieces += [text[end : span.start], stand(text[span.start : span.end], span.entity)]
        end = span.end
    return "".join([*pieces, text[end:]])
