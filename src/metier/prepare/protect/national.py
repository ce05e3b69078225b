"""Numbers by which a state knows a person: their shape, their check digits (python-stdnum), words that name them."""

import re
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import NamedTuple

from metier.core import extras
from metier.prepare.protect.sieve import DIGIT
from metier.prepare.protect.spans import Span, places


class _Scheme(NamedTuple):
    """A kind of number: its shape as written, what checks it, and the words without which it is a guess."""

    shape: re.Pattern[str]
    module: str
    cue: re.Pattern[str] | None


def _scheme(shape: str, module: str, cue: str = "") -> _Scheme:
    words = re.compile(rf"\b(?:{cue})\b", re.I) if cue else None
    return _Scheme(re.compile(shape), module, words)


_ID = "id|identity|identification|national|personal|number|no"
_DIGITS = (
    _scheme(r"\d{3}-\d\d-\d{4}", "us.ssn"),
    _scheme(r"\d{9}|\d{3} \d\d \d{4}", "us.ssn", "ssn|social|security"),
    _scheme(r"9\d\d-?\d\d-?\d{4}", "us.itin", "itin|tax|taxpayer"),
    _scheme(r"\d{3}\.\d{3}\.\d{3}-\d\d", "br.cpf"),
    _scheme(r"\d{11}", "br.cpf", "cpf"),
    _scheme(r"[12][ ]?\d\d[ ]?\d\d[ ]?\d\d[ ]?\d{3}[ ]?\d{3}[ ]?\d\d", "fr.nir"),
    _scheme(r"756\.\d{4}\.\d{4}\.\d\d", "ch.ssn"),
    _scheme(r"\d{3} ?\d{3} ?\d{4}", "gb.nhs", "nhs|patient|health"),
    _scheme(r"\d{4}[ -]?\d{4}[ -]?\d{4}", "in_.aadhaar", "aadhaar|aadhar|uid|uidai"),
    _scheme(r"\d{11}", "pl.pesel", f"pesel|{_ID}"),
    _scheme(r"\d{9}", "nl.bsn", "bsn|burgerservicenummer|sofi"),
    _scheme(r"\d\d ?\d{3} ?\d{3} ?\d{3}|\d{11}", "de.idnr", "steuer\\w*|idnr|identifikationsnummer|tin|tax"),
    _scheme(r"(?:19|20)?\d{6}[-+]\d{4}", "se.personnummer", f"personnummer|personnr|pnr|{_ID}"),
    _scheme(r"\d{6}-\d{4}", "dk.cpr", f"cpr|{_ID}"),
    _scheme(r"\d{6} ?\d{5}", "no.fodselsnummer", f"f\u00f8dselsnummer|fodselsnummer|personnummer|{_ID}"),
    _scheme(r"\d\d\.\d\d\.\d\d-\d{3}\.\d\d|\d{11}", "be.nn", f"rijksregister\\w*|registre|{_ID}"),
    _scheme(r"\d{3}[ -]?\d{3}[ -]?\d{3}", "ca.sin", "sin|social|insurance"),
    _scheme(r"\d{3} ?\d{3} ?\d{3}", "au.tfn", "tfn|tax"),
    _scheme(r"\d{13}", "za.idnr", _ID),
    _scheme(r"\d{11}", "tr.tckimlik", f"tckn|kimlik|{_ID}"),
)
_LETTERED = (
    _scheme(r"\d{8}-?[A-Z]", "es.dni"),
    _scheme(r"[XYZ]-?\d{7}-?[A-Z]", "es.nie"),
    _scheme(r"[A-Z]{6}\d\d[A-Z]\d\d[A-Z]\d{3}[A-Z]", "it.codicefiscale"),
    _scheme(r"\d{6}[-+A]\d{3}[0-9A-Z]", "fi.hetu"),
    _scheme(r"[A-Z]{4}\d{6}[HM][A-Z]{5}[0-9A-Z]\d", "mx.curp"),
    _scheme(r"[STFGM]\d{7}[A-Z]", "sg.uen", "nric|fin|singapore"),
    _scheme(r"[A-Z]{5}\d{4}[A-Z]", "in_.pan"),
)
_BRITISH = re.compile(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D]")
_BESIDE_LETTER = re.compile(r"\d(?:(?<=[A-Z]\d)|(?<=[A-Z][ -]\d)|(?<!\w\d)(?=\d{5,7}[-+]?[A-Z0-9]{0,4}[A-Z]))")
_CANDIDATE = re.compile(
    r"(?<![\w-])[A-Z]{2}(?: ?\d\d){3} ?[A-D](?!\w)"
    r"|(?<![\w-])(?:[A-Z]{1,6}-?\d[A-Z0-9+-]{5,15}|\d{6,8}[-+]?[A-Z]?\d{0,3}[A-Z])(?!\w)"
)
_DOCUMENTS = ("licence", "license", "passport", "identity card", "id card", "national id", "ausweis", "reisepass",
              "f\u00fchrerschein", "green card", "social security", "ssn")  # fmt: skip
_DOCUMENT_NUMBER = re.compile(
    r"(?:\s{1,9}(?:number|no\.?|nr\.?|num|id|is|was|:|#)){0,5}[\s:#]{1,9}(?=[A-Z0-9-]*\d)([A-Z0-9][A-Z0-9-]{4,18}[A-Z0-9])\b",
    re.I,
)
MAY_BE_LETTERED = rf"[A-Z][ -]?{DIGIT}|{DIGIT}[-+]?[A-Z]"
MAY_BE_DOCUMENT = "(?i)" + "|".join(_DOCUMENTS)
"""See `sieve`."""


def national_id(raw: str, digits: str, before: str) -> bool:
    """Tell whether a run of digits is a number of a person.

    Args:
        raw: as written.
        digits: its digits alone.
        before: the text in front, whose words decide where check digits alone would be a guess.
    """
    return (
        9 <= len(digits) <= 15
        and not digits.startswith("000")
        and any(_fits(scheme, raw, before) for scheme in _DIGITS)
    )


def lettered(text: str) -> Iterator[Span]:
    """Yield numbers of persons that hold letters."""
    end = 0
    for place in _BESIDE_LETTER.finditer(text):
        match = _CANDIDATE.search(text, max(end, place.start() - 7), place.start() + 20)
        if match is None:
            continue
        end = match.end()
        raw, before = match.group(), text[max(0, match.start() - 40) : match.start()]
        if _BRITISH.fullmatch(raw) or any(_fits(scheme, raw, before) for scheme in _LETTERED):
            yield Span(match.start(), match.end(), "national_id")


def documents(text: str) -> Iterator[Span]:
    """Yield numbers of documents of persons, which only a word in front tells from any number."""
    small = text.lower()
    for word in _DOCUMENTS:
        for place in places(small, word) if word in small else ():
            match = _DOCUMENT_NUMBER.match(text, place + len(word))
            if match and not match.group(1).startswith("000"):
                yield Span(match.start(1), match.end(1), "national_id")


def _fits(scheme: _Scheme, raw: str, before: str) -> bool:
    if not scheme.shape.fullmatch(raw) or (scheme.cue is not None and not scheme.cue.search(before)):
        return False
    return bool(_checker(scheme.module).is_valid(raw))


@cache
def _checker(module: str) -> ModuleType:
    return extras.load(f"stdnum.{module}", "protect")
