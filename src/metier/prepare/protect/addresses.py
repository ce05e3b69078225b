"""Finds postal addresses by their form: a house number beside a street word of many languages, boxes, units and cues.

Every rule starts at a number, so that a text is scanned once, for digits, and only what stands beside them is read.
"""

import re
from collections.abc import Iterator, Sequence

from metier.prepare.protect.sieve import DIGIT, SPACE, UPPER
from metier.prepare.protect.spans import Span
from metier.prepare.protect.vocabulary import CAPITAL, words

_AFTER_WORDS, _BEFORE_WORDS = words("street_after_name"), words("street_before_name")
_ENDINGS = tuple(sorted(words("street_endings")))
_SMALL_WORDS, _UNITS, _ZIPS = words("small_words_in_streets"), words("units"), words("before_postcodes")


def _any(known: Sequence[str] | frozenset[str]) -> str:
    return "(?:" + "|".join(re.escape(word) for word in sorted(known, key=lambda word: (-len(word), word))) + ")"


_ORDINAL = r"\d{1,3}(?:st|nd|rd|th)"
_WORD = rf"(?:{CAPITAL}[\w.'\u2019-]*|{_ORDINAL})"
_SMALL = _any(_SMALL_WORDS)
_NAME = rf"{_WORD}(?: (?:{_SMALL} ){{0,2}}{_WORD}){{0,4}}"
_STREET = (
    rf"(?:{_NAME} {_any(_AFTER_WORDS)}(?!\w)\.?|{_any(_BEFORE_WORDS)} (?:{_SMALL} ){{0,2}}{_NAME}"
    rf"|{CAPITAL}[\w-]{{2,}}{_any(_ENDINGS)}\b)"
)
_UNIT = r"(?:[Aa]pt|[Aa]partment|[Ss]uite|[Ss]te|[Uu]nit|[Ff]lat|APT|SUITE)\.? ?#?\d{1,5}[A-Za-z]?\b"
_POSTAL = (
    r"(?:[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d|\d{4} [A-Z]{2}|\d{3} \d\d|\d{2}-\d{3}"
    r"|\d{4,5}(?:-\d{3,4})?)\b"
)
_GAPS = r"\s{0,9}"
_TOWN = rf"{CAPITAL}[\w.'\u2019()-]*+(?:[ -](?:{CAPITAL}|\()[\w.'\u2019()-]*+){{0,3}}"
_NUMBER = re.compile(
    r"\d(?<![\w.,$\u20ac\u00a3#:]\d)\d{0,5}(?: ?[A-Za-z]\b|[/-]\d{1,5}[A-Za-z]?\b)?(?![\w%:])(?![.,]\d)"
)
_FORWARD = re.compile(rf"(?:,? \d{{1,5}})?,? {_STREET}(?: \d{{1,4}}\b)?")
_TAIL = re.compile(
    rf"(?:[,\s]{{1,4}}{_UNIT}){{0,2}}(?:(?:{_GAPS},{_GAPS}|{_GAPS}\n{_GAPS}|[ ])(?:{_POSTAL} )?{_TOWN})?"
    rf"(?:{_GAPS},{_GAPS}(?:[A-Z]{{2,3}}\b|nan|{_TOWN}))?(?:{_GAPS}\n?{_GAPS}{_TOWN})?(?:{_GAPS},?\s{{1,9}}{_POSTAL})"
    rf"|(?:[,\s]{{1,4}}{_UNIT}){{1,2}}"
)
_BOX = re.compile(
    r"\b(?:P\.? ?O\.? ?Box \d{1,6}|(?:PSC|Unit|CMR) \d{1,5},? Box \d{1,5})(?:\s*,?\s*[AFD]PO,? A[AEP] \d{5})?"
    r"|\b[AFD]PO,? A[AEP] \d{5}|\b(?:Postboks|Postbus|Postfach) \d{1,6}",
    re.I,
)
_CUE = re.compile(
    r"(?:\baddress(?:es)?(?: is|:)?|\b(?:lives?|living|lived|located|reside[sd]?) (?:at|on|in)"
    r"|\b(?:office|restaurant|house|shop|party) is (?:at|on|in)|\bmeet(?:ing)?(?: me| you| us)? (?:at|in)"
    r"|\b(?:return|delivered?|shipped?|send|sent|taxi|go|moved?|drive)(?: \w+){0,3} (?:to|at)"
    r"|\bdrops? (?:you|me|us) off at|\bhere they are:|\bside of|\bcorner of|\benter on|\bit(?:'s| is) in"
    r"|\bsent to\? User:|\bit is)[\s,:-]{1,4}(?:the corner of )?$",
    re.I,
)
_LOOSE_FORWARD = re.compile(
    rf"(?: \d{{1,5}})?,? {_NAME}(?: \d{{1,4}}\b)?"
    rf"|(?: [^\W\d_]{{2,}}){{1,3}} \d{{1,4}}(?: {_UNIT})?(?:[,\s]+[^\W\d_]{{3,}},? [a-z]{{2}} \d{{4,5}})?"
)
_LOOSE_BACKWARD = re.compile(rf"(?<![\w.]){_NAME},? $")
_AND_CORNER = re.compile(rf" and {_NAME}")
_ZIP_CUE = re.compile(r"\b(?:zip(?: ?code)?|post(?:al)? ?code|plz)(?: (?:is|code|of))?[\s:]{1,3}$", re.I)
_POSTAL_AT = re.compile(_POSTAL)
_HOUSE = rf"{DIGIT}(?: ?[A-Za-z]|[/-]{DIGIT}{{1,5}}[A-Za-z]?)?"
MAY_BE_ADDRESS = (
    rf"(?i:box|[afd]po,? a[aep]|post(?:boks|bus|fach)) {DIGIT}"
    rf"|{_HOUSE}[ ,]{{1,3}}(?:[0-9]|{UPPER})|{_HOUSE}(?: [A-Za-z\x{{80}}-\x{{10ffff}}]{{2,}}){{1,3}} {DIGIT}"
    rf"|(?:{UPPER}[^ \n]*|(?:st|nd|rd|th))[ ,]*(?:{SPACE}|[#.]){DIGIT}"
    rf"|(?:^|[ \n])(?:{_any(_AFTER_WORDS)}|(?i:{_any(_UNITS)}))\.*[ ,]*(?:{SPACE}|[#.])?{DIGIT}"
    rf"|(?i:zip|code|plz)(?: (?i:is|code|of))?(?:{SPACE}|:){{1,3}}{DIGIT}"
)
"""See `sieve`: a box, or a number behind or before a word that may belong to a street."""

_CLUE = 44
_WIDE = 72
_LINE = 60


def addresses(text: str) -> Iterator[Span]:
    """Yield postal addresses and parts of them (a unit, a postcode that is named so)."""
    if "ox " in text or "PO " in text or "Post" in text:
        yield from (Span(*match.span(), "address") for match in _BOX.finditer(text))
    end = 0
    lines = text.count("\n") >= 2
    for number in _NUMBER.finditer(text):
        if number.start() < end:
            continue
        found = _beside(text, number.start(), number.end()) or (lines and _own_line(text, *number.span()))
        if found:
            start, end = found[0], _with_tail(text, found[1])
            yield Span(start, end, "address")


def _beside(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Read what stands after and before a number."""
    following, before = text[end : end + 3].lstrip(" ,")[:1], text[max(0, start - _WIDE) : start]
    if following.isalnum() and not following.islower() and (match := _FORWARD.match(text, end)):
        return start, match.end()
    if following.isalnum() and (match := _LOOSE_FORWARD.match(text, end)) and _CUE.search(before[-_CLUE:]):
        return start, match.end()
    if not before[-1:].isspace() and not before.endswith(("#", ".")):
        return None
    word = before.rstrip(" ,").rpartition(" ")[2].rpartition("\n")[2]
    if word.lower().rstrip(".") in _UNITS:
        return start - len(before) + before.rindex(word), end
    if word.lower() in _ZIPS and _ZIP_CUE.search(before) and (match := _POSTAL_AT.match(text, start)):
        return start, match.end()
    return _behind_name(text, start, end, before) if word[:1].isupper() or word in _AFTER_WORDS else None


def _behind_name(text: str, start: int, end: int, before: str) -> tuple[int, int] | None:
    """Read "Puruntie 82": the street in front of the number."""
    words: list[str] = []
    for word in reversed(before.rpartition("\n")[2].rstrip(" ,").split(" ")):
        if (
            not (
                word[:1].isupper()
                or word in _SMALL_WORDS
                or word in _AFTER_WORDS
                or word in _BEFORE_WORDS
                or word[:1].isdigit()
            )
            or len(words) > 5
        ):
            break
        if words and word.endswith((".", ",", "]")) and word not in _BEFORE_WORDS:
            break
        words.append(word)
    while words and words[-1] in _SMALL_WORDS:
        words.pop()
    name = " ".join(reversed(words))
    if not name:
        return None
    first = start - len(before) + before.rindex(name)
    if _is_street(words) or _CUE.search(text[max(0, first - _CLUE) : first]):
        corner = _AND_CORNER.match(text, end)
        return first, corner.end() if corner else end
    return None


def _is_street(words: Sequence[str]) -> bool:
    """Tell whether words in front of a number, the last one first, name a street."""
    last = words[0].rstrip(".,")
    if len(words) > 1 and (last in _AFTER_WORDS or any(word in _BEFORE_WORDS for word in words[1:])):
        return True
    return len(last) > 5 and last.lower().endswith(_ENDINGS)


def _own_line(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Take a line of several that holds a name and a number and nothing else."""
    first, last = text.rfind("\n", max(0, start - _LINE - 1), start) + 1, text.find("\n", end, end + _LINE + 1)
    last = last if last >= 0 else len(text)
    if last - first > _LINE:
        return None
    line = text[first:last]
    before, after = text[first:start], text[end : first + len(line)]
    if not before.strip("? ") and after.strip() and (match := _LOOSE_FORWARD.match(text, end)):
        return (start, match.end()) if match.end() >= first + len(line.rstrip(" ,.")) else None
    if not after.strip(" ,.") and (match := _LOOSE_BACKWARD.search(before)) and not before[: match.start()].strip("? "):
        return first + match.start(), end
    return None


def _with_tail(text: str, end: int) -> int:
    """Go on over unit, town, region, country and postcode, where they end in a postcode or are a unit alone."""
    tail = _TAIL.match(text, end)
    return tail.end() if tail else end
