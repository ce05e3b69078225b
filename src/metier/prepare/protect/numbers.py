"""Finds what is mostly digits: cards, phone numbers, IBANs, national ids, IP addresses and dates."""

import ipaddress
import re
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from metier.core import extras
from metier.prepare.protect.national import national_id
from metier.prepare.protect.sieve import DIGIT
from metier.prepare.protect.spans import Entity, Span

_GAP = r"[ \t\u00a0.\-/()\u2010-\u2013]"
_CLUSTER = re.compile(rf"\d(?<![\w.]\d)(?:{_GAP}{{0,3}}\d)+(?: ?(?:x|ext\.?) ?\d{{1,6}})?(?!\w)")
_LEADING = re.compile(r"\+ ?\(?$|\($")
_PIECE = re.compile(r"\S+")
_IBAN = re.compile(r"\d(?<=(?<!\w)[A-Za-z]{2}\d)\d(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,4})?(?!\w)")
_IPV6_PART = re.compile(r":[0-9A-Fa-f]{0,4}:")
_IPV6_BEFORE, _IPV6_AFTER = re.compile(r"(?<![\w:])[0-9A-Fa-f:]*$"), re.compile(r"[0-9A-Fa-f:]{0,40}(?![\w:])")
_IPV4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_DATE = re.compile(
    r"(?:\d{1,2}([-/.])\d{1,2}\1(?:\d{4}|\d{2})|\d{4}([-/.])\d{1,2}\2\d{1,2})(?:[ T]\d\d?(?:[.:]\d\d)*)?"
)
_DATE_TAIL = re.compile(r"(?::\d\d){0,2}")
_YEARS = re.compile(r"(?:1[89]|20)\d\d ?[-\u2013/ ] ?(?:(?:1[89]|20)\d\d|\d\d)")
_THOUSANDS = re.compile(r"\d{1,3}(?:[ .\u00a0]\d{3})+")
_CARD_CUE = re.compile(r"\b(?:card|cc|visa|mastercard|amex|maestro|pan|credit|debit)\b", re.I)
_CARD_START = re.compile(r"4|5[0-8]|6|2[2-7]|3[0-9]|18|21|1800|2131")
_CARD_SHAPE = re.compile(r"\d{12,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{4,5}")
_PHONE_CUE = re.compile(
    r"\b(?:phone|tel|telephone|mobile|mob|cell|cellphone|calls?|called|fax|desk|whatsapp|sms|texts?|dial(?:led|ed)?"
    r"|ring|rang|reach(?:ed)?|contact|hotline|landline|answering|messages?|telefon|tlf|handy|t[ée]l[ée]fono|celular"
    r"|my (?:phone |mobile |cell |home |work )?number|registered)\b[^!?\n\d]{0,30}\n?$",
    re.I,
)
_OTHER_NUMBER = re.compile(
    r"(?:order|invoice|ticket|case|ref|reference|tracking|account|acct|policy|serial|model|isbn|issn|doi|id|sku|part"
    r"|version|claim|booking|transaction|confirmation)s?[\s#:.]*(?:number|no|nr|num|code|id|is|was)*[\s#:.]*$|[#$\u20ac\u00a3]\s?$",
    re.I,
)
_NORTH_AMERICAN = re.compile(r"(?:1[-. ])?\(?[2-9]\d\d\)?[-. ]{1,2}[2-9]\d\d[-. ]\d{4}(?: ?(?:x|ext\.?) ?\d+)?")
_BRACKETED = re.compile(r"(?:\+?\d{1,3} ?)?\(\d{1,4}\)[ -]?\d[\d -]{4,}\d")
_STAND_IN = re.compile(r"\(?0\D{0,3}0\D{0,3}0|\+ ?9\D{0,3}9\D{0,3}9")
"""How numbers begin that stand in for others: like no number that is given to anybody."""

MAY_BE_NUMBER = (
    rf"{DIGIT}(?:[ \t\x{{a0}}.\-/()\x{{2010}}-\x{{2013}}]{{0,3}}{DIGIT}){{6}}"
    rf"|{DIGIT}\.{DIGIT}{{1,3}}\.{DIGIT}{{1,3}}\.{DIGIT}|{DIGIT}[-/.]{DIGIT}{{1,2}}[-/.]{DIGIT}"
    rf"|:[0-9A-Fa-f]{{0,4}}:|[A-Za-z]{{2}}{DIGIT}{DIGIT} ?[A-Za-z0-9]{{4}} ?[A-Za-z0-9]{{4}}"
)
"""See `sieve`: seven digits near one another, an address of a machine, a date, an IBAN."""

_BEFORE = 48
"""Characters in front of a number in which a word may say what it is."""


def numbers(text: str, regions: tuple[str, ...]) -> Iterator[Span]:
    """Yield everything that is mostly digits.

    Args:
        text: any text.
        regions: ISO countries whose national phone numbers are known without a word in front that says so.
    """
    yield from _ibans(text)
    if text.count(":") > 1:
        yield from _ipv6(text)
    for match in _CLUSTER.finditer(text):
        if match.end() - match.start() > 4:
            lead = _LEADING.search(text, max(0, match.start() - 3), match.start())
            yield from _cluster(text, lead.start() if lead else match.start(), match.end(), regions)


def _ibans(text: str) -> Iterator[Span]:
    for match in _IBAN.finditer(text):
        start = match.start() - 2
        words = text[start : match.end()].split(" ")
        while words:  # words of the sentence may follow an IBAN written in fours
            if _library("stdnum.iban").is_valid(" ".join(words)):
                yield Span(start, start + len(" ".join(words)), "iban")
                break
            words.pop()


def _ipv6(text: str) -> Iterator[Span]:
    end = 0
    for match in _IPV6_PART.finditer(text):
        before = _IPV6_BEFORE.search(text, max(end, match.start() - 24), match.start())
        after = _IPV6_AFTER.match(text, match.end())
        if before is None or after is None:
            continue
        start, end = before.start(), after.end()
        address = _address_of(text[start:end])
        if address is not None and not _nobody(address):
            yield Span(start, end, "ip")


def _address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _nobody(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Tell whether an address can belong to nobody: loopback, documentation, reserved (where ours are drawn from)."""
    if address.version == 6:
        return address.is_loopback or address.is_unspecified or address.packed.startswith(bytes.fromhex("20010db8"))
    return address.is_loopback or address.is_unspecified or address.is_reserved


def _cluster(text: str, start: int, end: int, regions: tuple[str, ...]) -> Iterator[Span]:
    """Say what a run of digits is; one that is nothing as a whole is tried in parts, the longest first."""
    if _STAND_IN.match(text, start):
        return
    entity = _entity(text, start, end, regions)
    if entity is not None:
        yield Span(start, _end_of_date(text, end) if entity == "date" else end, entity)
        return
    pieces = [(start + piece.start(), start + piece.end()) for piece in _PIECE.finditer(text[start:end])][:12]
    place = 0
    while place < len(pieces) and len(pieces) > 1:
        for last in range(len(pieces) - 1 if place == 0 else len(pieces), place, -1):
            first, after = pieces[place][0], pieces[last - 1][1]
            if after - first > 4 and (entity := _entity(text, first, after, regions)) is not None:
                yield Span(first, _end_of_date(text, after) if entity == "date" else after, entity)
                place = last - 1
                break
        place += 1


def _end_of_date(text: str, end: int) -> int:
    tail = _DATE_TAIL.match(text, end)
    return tail.end() if tail else end


def _entity(text: str, start: int, end: int, regions: tuple[str, ...]) -> Entity | None:
    raw = text[start:end]
    digits = "".join(filter(str.isdigit, raw))
    if raw.count(".") == 3 and _IPV4.fullmatch(raw):
        return _ip(raw)
    if raw != digits and _DATE.fullmatch(raw):
        return "date"
    if len(digits) < 7:
        return None
    before = text[max(0, start - _BEFORE) : start]
    if _is_card(raw, digits, before):
        return "card"
    if national_id(raw, digits, before):
        return "national_id"
    return "phone" if _is_phone(raw, before, regions) else None


def _ip(raw: str) -> Entity | None:
    address = _address_of(raw)
    return "ip" if address is not None and not _nobody(address) else None


def _is_card(raw: str, digits: str, before: str) -> bool:
    if not 12 <= len(digits) <= 19 or not _CARD_START.match(digits) or not _CARD_SHAPE.fullmatch(raw):
        return False
    return _library("stdnum.luhn").is_valid(digits) and (len(digits) > 13 or _CARD_CUE.search(before) is not None)


def _is_phone(raw: str, before: str, regions: tuple[str, ...]) -> bool:
    """Tell whether a number is a telephone's: by a plus, a word in front, its form, or the plan of a country."""
    main = re.split("x|ext", raw)[0]
    digits = "".join(filter(str.isdigit, main))
    if not 7 <= len(digits) <= 17 or _YEARS.fullmatch(raw):
        return False
    if raw.startswith("+") or _OTHER_NUMBER.search(before):
        return raw.startswith("+")
    if _PHONE_CUE.search(before) or _NORTH_AMERICAN.fullmatch(raw) or _BRACKETED.fullmatch(raw):
        return True
    if main == digits or "/" in main or _THOUSANDS.fullmatch(main):
        return False
    return (digits.startswith("00") and len(digits) >= 10) or any(_is_national(main, region) for region in regions)


def _is_national(text: str, region: str) -> bool:
    phonenumbers = _library("phonenumbers")
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(text, region))
    except phonenumbers.NumberParseException:
        return False


@cache
def _library(module: str) -> ModuleType:
    return extras.load(module, "protect")
