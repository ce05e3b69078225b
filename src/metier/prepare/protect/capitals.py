"""Runs of words with capitals, and what each of their words can be: a given name, a family name, a place, or plain."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from metier.prepare.protect.gazetteer import gazetteer
from metier.prepare.protect.surrogates import is_surrogate_name

TOKEN = re.compile(r"[\w\u2019']+")
_POSSESSIVE = re.compile(r"['\u2019]s?$")


class Word(NamedTuple):
    """A word of a run, where it stands in it, and in which lists it is found; `stop` words are never names."""

    start: int
    end: int
    text: str
    given: bool
    family: bool
    plain: bool
    stop: bool
    place: bool

    @property
    def name(self) -> bool:
        """Tell whether the word is in a list of names."""
        return self.given or self.family


@lru_cache(maxsize=1 << 14)
def words_of(found: str) -> tuple[Word, ...]:
    """Return the words of a run, which are often the same ones ("San Francisco"); places count from its start."""
    return tuple(_word(token.start(), token.group()) for token in TOKEN.finditer(found))


def may_join(word: Word) -> bool:
    """Tell whether a word beside a name belongs to it: an initial, a name, or a word that is nothing we know."""
    return (
        (len(word.text) == 1 and word.text != "I")
        or not word.plain
        or (word.name and not word.stop and len(word.text) > 2)
    )


def told(run: Sequence[Word]) -> tuple[int, int] | None:
    """Take what follows "my name is": up to four words, ordinary ones at the end left out."""
    kept = list(run[:4])
    while kept and kept[-1].plain and not (kept[-1].name and not kept[-1].stop):
        kept.pop()
    if not kept or kept[0].stop or (kept[0].plain and not kept[0].name):
        return None
    return kept[0].start, kept[-1].end


def _word(start: int, text: str) -> Word:
    bare, *facts = _facts(text)
    return Word(start, start + len(bare), bare, *facts)


@lru_cache(maxsize=1 << 16)
def _facts(text: str) -> tuple[str, bool, bool, bool, bool, bool]:
    """Return a word without its possessive, and what it can be: given, family, plain, stop, place."""
    known = gazetteer()
    bare = _POSSESSIVE.sub("", text)
    shown = bare.title() if bare.isupper() and len(bare) > 2 else bare
    small = bare.lower()
    ours = is_surrogate_name(bare)
    return (
        bare, shown in known.given, shown in known.family, small in known.plain or ours, small in known.stop or ours,
        shown in known.places,
    )  # fmt: skip
