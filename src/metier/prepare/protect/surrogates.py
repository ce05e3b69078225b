"""What stands in for a value: a mark that says what was there, or a made-up value that the same key makes every time.

Made-up values can be told from real ones by themselves (a checksum in names, ranges that are given to nobody in
numbers, the reserved domain `.example`). So no list is needed to see that a place has been dealt with, a protected
text stays as it is when it is protected again, and the proof does not mistake a stand-in for a leak.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping

from metier.prepare.protect.spans import Entity

_CONSONANTS = "bdfgjklmnprstvz"
_VOWELS = "aeiou"
_ENDS = ("", "l", "n", "r", "s")
_SYLLABLES = tuple(first + vowel + last for first in _CONSONANTS for vowel in _VOWELS for last in _ENDS)
_FREE = 4
_SHAPE = re.compile(rf"(?:[{_CONSONANTS}][{_VOWELS}][lnrs]?){{{_FREE + 1}}}")
_MASK = re.compile(r"\[(?:SECRET|EMAIL|IBAN|CARD|NATIONAL_ID|IP|PHONE|URL|DATE|ADDRESS|PERSON)\]")
_DIGIT = re.compile(r"\d")
_NAME_PART = re.compile(r"[^\W\d_]{2,}")


def mask(entity: Entity) -> str:
    """Return what redaction writes: `[EMAIL]`."""
    return f"[{entity.upper()}]"


def is_mask(text: str) -> bool:
    """Tell whether a text is such a mark."""
    return _MASK.fullmatch(text) is not None


def is_surrogate_name(word: str) -> bool:
    """Tell whether a word is a name that `Surrogates` made: its last syllable is a checksum of those before."""
    small = word.lower()
    if not 10 <= len(small) <= 15 or not _SHAPE.fullmatch(small):
        return False
    return any(small == head + _check(head) for head in (small[:cut] for cut in range(len(small) - 3, len(small) - 1)))


def _check(head: str) -> str:
    number = int.from_bytes(hashlib.blake2b(head.encode(), digest_size=4).digest(), "big")
    return _SYLLABLES[number % len(_SYLLABLES)]


class Surrogates:
    """Made-up values, each a function of a key, of the kind of value and of the value as people would compare it.

    Args:
        key: secret bytes; without them nobody can check a guess against a stand-in.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._makers: Mapping[Entity, Callable[[str], str]] = {
            "person": self._person,
            "email": self._email,
            "phone": lambda value: self._digits(value, "phone", "+999" if value.startswith("+") else "000"),
            "card": lambda value: self._digits(value, "card", "0000"),
            "iban": self._iban,
            "national_id": self._national,
            "ip": self._ip,
            "url": lambda value: f"https://{self._name('url', value.lower())}.example/",
            "address": lambda value: f"[ADDRESS_{self._name('address', ' '.join(value.lower().split())).upper()}]",
            "date": lambda value: mask("date"),
            "secret": lambda value: mask("secret"),
        }

    def of(self, value: str, entity: Entity) -> str:
        """Return what stands in for a value. Secrets and dates are only ever masked: nothing of them is kept."""
        return self._makers[entity](value)

    def _number(self, kind: str, value: str) -> int:
        return int.from_bytes(hmac.digest(self._key, f"{kind}\x1f{value}".encode(), "sha256"), "big")

    def _name(self, kind: str, value: str) -> str:
        number, head = self._number(kind, value), ""
        for _ in range(_FREE):
            number, place = divmod(number, len(_SYLLABLES))
            head += _SYLLABLES[place]
        return head + _check(head)

    def _person(self, value: str) -> str:
        """Change every part of a name by itself, so that "Ms Lopez" is the "Maria Lopez" of another row."""
        return _NAME_PART.sub(lambda part: self._cased(part.group()), value)

    def _cased(self, part: str) -> str:
        name = self._name("person", part.casefold())
        if part.isupper() and len(part) > 1:
            return name.upper()
        return name if part.islower() else name.title()

    def _email(self, value: str) -> str:
        """Keep the parts of a name in front of the `@`: maria.lopez@… is the same person as Maria Lopez."""
        local, _, domain = value.rpartition("@")
        parts = _NAME_PART.findall(local)
        shown = ".".join(self._name("person", part.casefold()) for part in parts) or self._name("email", local)
        number = "".join(_DIGIT.findall(local))
        tail = str(self._number("email", number) % 10**4) if number else ""
        return f"{shown}{tail}@{self._name('domain', domain.lower())}.example"

    def _digits(self, value: str, kind: str, start: str) -> str:
        """Keep how a number is written and change its digits; it begins like no number that anyone has."""
        real = "".join(_DIGIT.findall(value))
        fresh = start.lstrip("+") + str(self._number(kind, real)).zfill(len(real))
        digits = iter(fresh)
        return _DIGIT.sub(lambda _: next(digits), value)

    def _iban(self, value: str) -> str:
        plain = "".join(value.split()).upper()
        number, letters = self._number("iban", plain), ""
        while len(letters) < len(plain):
            number, place = divmod(number, len(_CONSONANTS)) if number else (self._number("iban", plain + letters), 0)
            letters += _CONSONANTS[place].upper()
        fresh = iter(f"ZZ00{letters}")
        return "".join(next(fresh) if character.isalnum() else character for character in value)

    def _national(self, value: str) -> str:
        plain = "".join(character for character in value.upper() if character.isalnum())
        fresh = iter("000" + str(self._number("national_id", plain)).zfill(20))
        return "".join(next(fresh) if character.isalnum() else character for character in value)

    def _ip(self, value: str) -> str:
        number = self._number("ip", value.lower())
        if ":" in value:
            groups = [f"{number >> shift & 0xFFFF:x}" for shift in range(0, 96, 16)]
            return "2001:db8:" + ":".join(groups)
        return ".".join(str(part) for part in (240 + number % 15, *(number >> shift & 255 for shift in (8, 16, 24))))
