"""Finds names of persons without a model: a gazetteer, the words around, titles, greetings and signatures.

A text is cut into words once and the words are looked up together; only where one is found is the text itself read.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from metier.prepare.protect.capitals import TOKEN, Word, may_join, told, words_of
from metier.prepare.protect.gazetteer import Gazetteer, gazetteer
from metier.prepare.protect.listed import Listed, Standing
from metier.prepare.protect.spans import Span, places
from metier.prepare.protect.vocabulary import CAPITAL, words

_WORD = rf"{CAPITAL}(?:[\w\u2019'-]*\w)?"
_PARTICLE = r"(?:de|da|do|dos|das|del|della|di|du|la|le|van|von|der|den|ter|ten|bin|ibn|al|el|zu|af|av|y)"
_GLUE = r"(?: |-|(?<=[\s.]\w)\. ?|(?<=^\w)\. ?)"
_SEQUENCE = re.compile(rf"(?<![\w@/#]){_WORD}(?:{_GLUE}(?:{_PARTICLE} ){{0,2}}{_WORD}){{0,5}}")
_PARTICLES = (
    " de ",
    " da ",
    " do ",
    " dos ",
    " del ",
    " di ",
    " du ",
    " la ",
    " le ",
    " van ",
    " von ",
    " bin ",
    " al ",
    " el ",
)
_CAPITAL_ASCII = re.compile(r"[A-Z][A-Za-z]+")
_CAPITAL_ANY = re.compile(rf"{CAPITAL}[^\W\d_]+")
_NEEDLES = (
    "'m ",
    "\u2019m ",
    " am ",
    " name",
    " call",
    " known",
    " regards",
    " sincerely",
    " mr",
    " llam",
    " appell",
    " hei\u00df",
)
"""How signs in small letters are found fast: what they begin with, behind the character before them."""

MAY_BE_SIGN = "|".join(_NEEDLES)
"""See `sieve`."""

_SMALL_SEQUENCE = re.compile(r"[^\W\d_]{2,}(?: [^\W\d_]{2,})?")
_TITLES, _NAMING, _GREETING = words("titles"), words("naming"), words("greeting")
_ORGANISATION = words("organisations")
_SAYS_NAME = re.compile(
    r"(?:\b(?:names?(?: is| was|:|,| should be| to)?|named(?: him| her| it| after)?|called|calls? (?:me|him|her)"
    r"|known as|signed(?: by|,)?|attn:?|attention:?|c/o|card ?holder:?|patient:?|customer:|employee:?|name\?"
    r"|(?:yours )?(?:truly|sincerely|faithfully),|regards,|wishes,|cheers,|ich hei\u00dfe|m'appelle|me llamo|mi chiamo)"
    r"[ \t]?\s{1,3})$",
    re.I,
)
_GREETS = re.compile(r"(?:\b(?:dear|hi|hello|hey|thanks|i'm|i am|this is),? {1,2})$", re.I)
_NEAR = re.compile(
    r"(?:\b(?:mr|mrs|ms|miss|dr|prof|sir|lord|lady|uncle|aunt|i'm|i am|this is|it's me|hi|hello|hey|dear|thanks"
    r"|thank you|love|from|by|with|said|says|told|ask|asked|meet|met|see|speak to|talk to|spoke (?:to|with)"
    r"|follow up with|manager|agent|colleague|wife|husband|son|daughter|sister|brother|boss|friend|partner|cousin"
    r"|neighbou?r|guardian|father|mother|mum|mom|dad|singer|songwriter|director|starring|actor|actress|author|writer"
    r"|player|commenter|founders?:?|ceo|add|tell|know|heard|and|named|name|why is)\.?,? )$",
    re.I,
)
_GAP = re.compile(r"[.,:?]?(?:(?: is| was| should be| me| him| her| by| as| it to| to)\b:?)?[,:]?\s{1,3}")
_FOLLOWING = re.compile(r",? (\w+)")
_BEFORE = 30
_FEW = 4
"""So many words are sought one by one; where there are more, every word with a capital is looked at."""


class _Lookup(NamedTuple):
    """The words at which it is worth reading the text; `capital` are those that begin with one."""

    known: Gazetteer
    signs: frozenset[str]
    capital: frozenset[str]
    listed: Listed


@cache
def _lookup() -> _Lookup:
    known = gazetteer()
    signs = _TITLES | _NAMING | _GREETING
    shouted = frozenset(name.upper() for name in known.strong if len(name) > 3)
    capital = known.strong | known.weak | shouted | frozenset(sign for sign in signs if sign[0].isupper())
    return _Lookup(known, signs, capital, Listed(capital))


def standing(texts: Sequence[str]) -> list[Standing | None]:
    """Return where words that may be names or signs of one begin with a capital, as `names` takes it."""
    return _lookup().listed.standing(texts)


def names(text: str, *, signs: bool = True, standing: Standing | None = None) -> Iterator[Span]:
    """Yield names of persons: what the gazetteer knows, and what the words around say is one.

    Unknown words count as names only after a title, "my name is" and the like. Words that are names and ordinary words
    too (`Will`, `Rose`) need such a sign or a name beside them. Names in small letters need it too, unless the whole
    text is in small letters and a given name stands before a family name.

    Args:
        text: any text.
        signs: False where it is known that none of the signs in small letters stands in it.
        standing: what `standing` says of the text, where it has been asked.
    """
    look = _lookup()
    found = _sought(text, look) if standing is None else list(standing)
    for needle in _NEEDLES if signs else ():
        if needle in text:
            found += [(place + 1, TOKEN.match(text, place + 1).group()) for place in places(text, needle)]  # type: ignore[union-attr]
    if text.islower():
        every = ((match.start(), match.group()) for match in TOKEN.finditer(text))
        found += [(place, word) for place, word in every if word in look.known.small or word in look.signs]
    end = 0
    for place, word in sorted(found):
        if place >= end and (span := _judge(text, place, word, look)) is not None:
            end = span.end
            yield span


def _sought(text: str, look: _Lookup) -> Standing:
    """Return where words with a capital stand that are names or signs of one; some of them inside other words."""
    capital = _CAPITAL_ASCII if text.isascii() else _CAPITAL_ANY
    known = look.capital.intersection(capital.findall(text))
    if len(known) > _FEW:
        return [(match.start(), match.group()) for match in capital.finditer(text) if match.group() in known]
    return [(place, word) for word in known for place in places(text, word)]  # `_judge` refuses parts of words


def _judge(text: str, place: int, word: str, look: _Lookup) -> Span | None:
    """Read the text at a word that is a name or a sign of one."""
    after = place + len(word)
    if (place and text[place - 1].isalnum()) or text[after : after + 1].isalnum():
        return None
    if word in look.signs:
        return _after_sign(text, after, look.known)
    if word.islower():
        return _small(text, place, look.known)
    strong = word in look.known.strong or (word.isupper() and word.title() in look.known.strong)
    if not _is_alone(text, place, after):
        return _around(text, place, strong=strong)
    return _span(text, (place, after)) if strong or _is_near(text, place, word, look.known) else None


def _after_sign(text: str, end: int, known: Gazetteer) -> Span | None:
    """Read the name behind a title, a greeting or "my name is"; `end` is where that word ends."""
    gap = _GAP.match(text, end)
    if gap is None:
        return None
    start = gap.end()
    capital = text[start : start + 1].isupper()
    small = None if capital else _small_after(text, start, known)
    if not capital and small is None:
        return None
    before = text[max(0, end - _BEFORE) : start]
    named = (
        before.rstrip(" .,").rpartition(" ")[2].rpartition("\n")[2] in _TITLES or _SAYS_NAME.search(before) is not None
    )
    match = _SEQUENCE.match(text, start) if capital else None
    if match is None:
        return small if named else None
    run = words_of(match.group())
    if named:
        return _span(text, told(run), start)
    if len(run) <= 3 and not any(word.plain or word.place for word in run) and _GREETS.search(before):
        return _span(text, (run[0].start, run[-1].end), start)
    return None


def _is_alone(text: str, place: int, after: int) -> bool:
    """Tell whether no word with a capital stands right beside this one: the usual case, told without a regex."""
    mark, following = text[after : after + 1], text[after + 1 : after + 2]
    if (mark in (" ", "-") and (following.isupper() or text.startswith(_PARTICLES, after))) or mark == "-":
        return False
    if place == 0 or text[place - 1] != " ":
        return place == 0 or text[place - 1] not in "-."
    first = text.rfind(" ", max(0, place - 25), place - 1) + 1
    last = text[place - 2 : place - 1]
    return not ((last.isalnum() or last == ".") and text[first : first + 1].isupper()) and last not in "'\u2019"


def _is_near(text: str, place: int, word: str, known: Gazetteer) -> bool:
    """Tell whether a word that is a name and something else stands behind words that a person often follows."""
    if word in known.places or not place or text[place - 1] != " ":
        return False
    return _NEAR.search(text[max(0, place - _BEFORE) : place]) is not None


def _around(text: str, place: int, *, strong: bool) -> Span | None:
    """Judge the run of words with capitals in which a name stands."""
    start = place
    for _ in range(3):  # go back over words with capitals
        gap = text.rfind(" ", max(0, start - 25), start - 1) + 1 if text[start - 1 : start] == " " else start
        if gap >= start or not text[gap].isupper() or not (text[start - 2].isalnum() or text[start - 2] in ".'\u2019"):
            break
        start = gap
    match = _SEQUENCE.match(text, start) or _SEQUENCE.match(text, place)
    if match is None or match.end() <= place:
        match = _SEQUENCE.match(text, place)
    if match is None:
        return None
    run, start = words_of(match.group()), match.start()
    at = next((index for index, word in enumerate(run) if word.start <= place - start < word.end), None)
    if at is None or run[-1].text.lower() in _ORGANISATION or not (strong or _meant(text, run, at, start)):
        return None
    first, last = at, at
    while last + 1 < len(run) and last - first < 3 and may_join(run[last + 1]):
        last += 1
    while first > 0 and last - first < 3 and may_join(run[first - 1]):
        first -= 1
    return _span(text, (run[first].start, run[last].end), start)


def _meant(text: str, run: Sequence[Word], at: int, start: int) -> bool:
    """Tell whether a word that is a name and something else is meant as a name; the run begins at `start`."""
    word = run[at]
    follower = run[at + 1] if at + 1 < len(run) else None
    if (
        word.given
        and follower is not None
        and follower.name
        and not follower.stop
        and not (word.place and follower.place)
    ):
        return True
    if word.place or not all(other.stop or index == at for index, other in enumerate(run)):
        return False
    place = start + word.start
    before = text[max(0, place - _BEFORE) : place]
    return before.endswith(" ") and _NEAR.search(before) is not None


def _small_after(text: str, start: int, known: Gazetteer) -> Span | None:
    """Read a name in small letters behind "my name is"."""
    match = _SMALL_SEQUENCE.match(text, start)
    run = match.group().split() if match else []
    if not run or run[0] not in known.small:
        return None
    size = len(run[0]) if len(run) == 1 or run[1] in known.plain else len(" ".join(run))
    return Span(start, start + size, "person")


def _small(text: str, start: int, known: Gazetteer) -> Span | None:
    """Take two names in small letters beside one another."""
    match = _SMALL_SEQUENCE.match(text, start)
    run = match.group().split() if match else []
    if len(run) == 2 and run[1] in known.small and run[0].title() in known.given:
        return Span(start, start + len(" ".join(run)), "person")
    return None


def _span(text: str, found: tuple[int, int] | None, shift: int = 0) -> Span | None:
    """Return a place `shift` further on as a name, unless what follows says that it is a firm or a street."""
    if found is None:
        return None
    first, last = found[0] + shift, found[1] + shift
    following = _FOLLOWING.match(text, last)
    if following and following.group(1).lower() in _ORGANISATION and following.group(1)[0].isupper():
        return None
    return Span(first, last, "person")
