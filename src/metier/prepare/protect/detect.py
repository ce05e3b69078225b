"""Finds every kind of personal data and secret in a text: each detector behind a test that nearly every text fails."""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache

from metier.prepare.protect.addresses import addresses
from metier.prepare.protect.glimpse import Glimpse, glimpse
from metier.prepare.protect.names import names
from metier.prepare.protect.national import documents, lettered
from metier.prepare.protect.numbers import numbers
from metier.prepare.protect.secrets import secrets
from metier.prepare.protect.spans import Entity, Span, disjoint

_EMAIL = re.compile(r"(?<![\w.+%-])[\w][\w.+%'-]{0,63}@(?:[\w-]{1,63}\.)+[^\W\d_][\w-]{1,23}(?!\w)")
_URL = re.compile(
    r"(?<!\w)(?:https?|ftp)://[^\s<>\"'\])},]+[^\s<>\"'\])},.;:!?]|(?<![\w@.-])www\.[\w-]+(?:\.[\w-]+)+(?:/[^\s<>\"')]*)?"
)
_WORDED_DATE = re.compile(
    r"\b(?:\d{1,2}(?:st|nd|rd|th)? (?:of )?)?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.?"
    r"(?: \d{1,2}(?:st|nd|rd|th)?)?,? \d{4}\b"
)

_MOST_REMEMBERED, _LONGEST_REMEMBERED = 1 << 12, 1 << 12
"""Texts, and characters of each, whose spans are remembered: system prompts stand in every row."""

Detector = Callable[[str], Sequence[Span]]
"""Finds spans in one text, disjoint and in order."""


def detector(entities: Collection[Entity], regions: tuple[str, ...] = ("US", "GB")) -> Detector:
    """Return the function that finds `entities` in a text.

    Args:
        entities: what to look for; the rest costs nothing, or is found and left out.
        regions: ISO countries of national phone numbers.
    """
    wanted = frozenset(entities)

    def look(text: str) -> Sequence[Span]:
        spans = _all(text, wanted, regions)
        if not spans:
            return ()
        spans = [span for span in spans if span.entity in wanted]
        return tuple(disjoint(spans)) if len(spans) > 1 else tuple(spans)

    remembered = lru_cache(_MOST_REMEMBERED)(look)
    return lambda text: remembered(text) if len(text) <= _LONGEST_REMEMBERED else look(text)


def _all(text: str, wanted: Collection[Entity], regions: tuple[str, ...]) -> list[Span]:
    spans: list[Span] = []
    if "@" in text and "email" in wanted:
        spans += [Span(*match.span(), "email") for match in _EMAIL.finditer(text) if not _reserved(match.group())]
    if "url" in wanted and ("://" in text or "www." in text):
        spans += [Span(*match.span(), "url") for match in _URL.finditer(text) if not _reserved(match.group())]
    if "secret" in wanted:
        spans += secrets(text)
    seen = glimpse(text)
    if seen is not None:
        spans += _at_digits(text, seen, wanted, regions)
    if "person" in wanted:
        spans += names(text)
    return spans


def _at_digits(text: str, seen: Glimpse, wanted: Collection[Entity], regions: tuple[str, ...]) -> Iterator[Span]:
    if seen.numbers:
        yield from numbers(text, regions)
    if seen.lettered and "national_id" in wanted:
        yield from lettered(text)
    if seen.documents and "national_id" in wanted:
        yield from documents(text)
    if seen.addresses and "address" in wanted:
        yield from addresses(text)
    if "date" in wanted:
        yield from (Span(*match.span(), "date") for match in _WORDED_DATE.finditer(text))


def _reserved(address: str) -> bool:
    """Tell whether an address lies in a domain that belongs to nobody for ever (RFC 2606): ours do."""
    return address.lower().rstrip("/").endswith((".example", "example.com", "example.org", "example.net", ".invalid"))
