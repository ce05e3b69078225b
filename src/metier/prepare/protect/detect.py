"""Finds every kind of personal data and secret in texts: each rule only where a scan of many texts says that it may."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import NamedTuple, Protocol

from metier.prepare.protect.addresses import MAY_BE_ADDRESS, addresses
from metier.prepare.protect.listed import Standing
from metier.prepare.protect.names import MAY_BE_SIGN, names, standing
from metier.prepare.protect.national import MAY_BE_DOCUMENT, MAY_BE_LETTERED, documents, lettered
from metier.prepare.protect.numbers import MAY_BE_NUMBER, numbers
from metier.prepare.protect.secrets import MAY_BE_KEY, MAY_BE_NAMED, keys, named
from metier.prepare.protect.sieve import sieved
from metier.prepare.protect.spans import Entity, Span, disjoint

_EMAIL = re.compile(r"(?<![\w.+%-])[\w][\w.+%'-]{0,63}@(?:[\w-]{1,63}\.)+[^\W\d_][\w-]{1,23}(?!\w)")
_URL = re.compile(
    r"(?<!\w)(?:https?|ftp)://[^\s<>\"'\])},]+[^\s<>\"'\])},.;:!?]|(?<![\w@.-])www\.[\w-]+(?:\.[\w-]+)+(?:/[^\s<>\"')]*)?"
)
_MONTHS = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_WORDED_DATE = re.compile(
    rf"\b(?:\d{{1,2}}(?:st|nd|rd|th)? (?:of )?)?{_MONTHS}[a-z]{{0,6}}\.?(?: \d{{1,2}}(?:st|nd|rd|th)?)?,? \d{{4}}\b"
)

_MOST_REMEMBERED, _LONGEST_REMEMBERED = 1 << 12, 1 << 12
"""Texts, and characters of each, whose spans are remembered where texts are looked through one by one."""


class Detector(Protocol):
    """Finds spans in texts, disjoint and in order; many at once are found faster than one by one."""

    def __call__(self, text: str) -> Sequence[Span]:
        """Return the spans of one text."""
        ...

    def many(self, texts: Sequence[str]) -> list[Sequence[Span]]:
        """Return the spans of each text."""
        ...


class _Rule(NamedTuple):
    """What a rule finds, the pattern without which it finds nothing, and itself."""

    entities: frozenset[Entity]
    pattern: str
    find: Callable[[str], Iterable[Span]]


def _rules(regions: tuple[str, ...]) -> tuple[_Rule, ...]:
    known: tuple[tuple[tuple[Entity, ...], str, Callable[[str], Iterable[Span]]], ...] = (
        (("email",), "@", _emails),
        (("url",), r"://|www\.", _urls),
        (("secret",), MAY_BE_KEY, keys),
        (("secret",), MAY_BE_NAMED, named),
        (("card", "phone", "iban", "national_id", "ip", "date"), MAY_BE_NUMBER, partial(numbers, regions=regions)),
        (("national_id",), MAY_BE_LETTERED, lettered),
        (("national_id",), MAY_BE_DOCUMENT, documents),
        (("address",), MAY_BE_ADDRESS, addresses),
        (("date",), _MONTHS, _dates),
    )
    return tuple(_Rule(frozenset(entities), pattern, find) for entities, pattern, find in known)


class _Rules:
    """The detector that `detector` returns."""

    def __init__(self, wanted: frozenset[Entity], regions: tuple[str, ...]) -> None:
        self._wanted, self._names = wanted, "person" in wanted
        rules = [rule for rule in _rules(regions) if rule.entities & wanted]
        self._finders = [(2 << number, rule.find) for number, rule in enumerate(rules)]
        self._patterns = (MAY_BE_SIGN, *(rule.pattern for rule in rules))
        self._remembered = lru_cache(_MOST_REMEMBERED)(self._look)

    def __call__(self, text: str) -> Sequence[Span]:
        """Return the spans of one text."""
        return self._remembered(text) if len(text) <= _LONGEST_REMEMBERED else self._look(text)

    def many(self, texts: Sequence[str]) -> list[Sequence[Span]]:
        """Return the spans of each text; equal texts are looked through once."""
        different = list(dict.fromkeys(texts))
        bits = sieved(different, self._patterns)
        named = standing(different) if self._names else [None] * len(different)
        known = {
            text: self._look(text, found, words) for text, found, words in zip(different, bits, named, strict=True)
        }
        return [known[text] for text in texts]

    def _look(self, text: str, bits: int = -1, named: Standing | None = None) -> Sequence[Span]:
        spans: list[Span] = []
        if bits & ~1:
            for bit, find in self._finders:
                if bits & bit:
                    spans += find(text)
        if self._names and (named or named is None or bits & 1 or text.islower()):
            spans += names(text, signs=bool(bits & 1), standing=named)
        if not spans:
            return ()
        spans = [span for span in spans if span.entity in self._wanted]
        return tuple(disjoint(spans)) if len(spans) > 1 else tuple(spans)


def detector(entities: Collection[Entity], regions: tuple[str, ...] = ("US", "GB")) -> Detector:
    """Return what finds `entities` in texts.

    Args:
        entities: what to look for; the rest costs nothing, or is found and left out.
        regions: ISO countries of national phone numbers.
    """
    return _Rules(frozenset(entities), regions)


def _emails(text: str) -> Iterator[Span]:
    return (Span(*match.span(), "email") for match in _EMAIL.finditer(text) if not _reserved(match.group()))


def _urls(text: str) -> Iterator[Span]:
    return (Span(*match.span(), "url") for match in _URL.finditer(text) if not _reserved(match.group()))


def _dates(text: str) -> Iterator[Span]:
    return (Span(*match.span(), "date") for match in _WORDED_DATE.finditer(text))


def _reserved(address: str) -> bool:
    """Tell whether an address lies in a domain that belongs to nobody for ever (RFC 2606): ours do."""
    return address.lower().rstrip("/").endswith((".example", "example.com", "example.org", "example.net", ".invalid"))
