"""How an answer is written: its length, how hard it is to read, and what it must and must not contain."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_SENTENCE_END = re.compile(r"[.!?…]+(?:\s|$)")
_VOWELS = re.compile(r"[aeiouy]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an answer is held to; None and empty: not looked at.

    `most_grade` is a reading grade, see `grade`. `forbidden` are words or phrases, `patterns` regular expressions of
    which each must be found.
    """

    least_words: int | None = None
    most_words: int | None = None
    most_grade: float | None = None
    forbidden: Sequence[str] = ()
    patterns: Sequence[str] = ()


def faults(text: str, wanted: Wanted) -> list[str]:
    """Return what an answer is found wanting in, in words."""
    found = []
    count = len(words(text))
    if wanted.least_words is not None and count < wanted.least_words:
        found.append(f"{count} words, at least {wanted.least_words} wanted")
    if wanted.most_words is not None and count > wanted.most_words:
        found.append(f"{count} words, at most {wanted.most_words} wanted")
    if wanted.most_grade is not None and (reading := grade(text)) > wanted.most_grade:
        found.append(f"reading grade {reading:.1f}, at most {wanted.most_grade:g} wanted")
    found += [f"contains '{phrase}'" for phrase in wanted.forbidden if contains(text, phrase)]
    found += [f"does not match {pattern}" for pattern in wanted.patterns if not re.search(pattern, text)]
    return found


def words(text: str) -> list[str]:
    """Return the words of a text."""
    return _WORD.findall(text)


def sentences(text: str) -> int:
    """Return the number of sentences; a text without a full stop is one."""
    return max(1, len(_SENTENCE_END.findall(text.strip()))) if text.strip() else 0


def grade(text: str) -> float:
    """Return the Flesch–Kincaid grade of an English text: about the years of school it takes to read; 0 for none.

    0.39 words a sentence + 11.8 syllables a word − 15.59 (J. P. Kincaid et al. 1975); a syllable is a run of vowels,
    a silent final e aside.
    """
    found = words(text)
    if not found:
        return 0.0
    syllables = sum(_syllables(word) for word in found)
    return max(0.0, 0.39 * len(found) / sentences(text) + 11.8 * syllables / len(found) - 15.59)


def contains(text: str, phrase: str) -> bool:
    """Tell whether a phrase stands in a text as whole words, case aside."""
    inside = re.escape(unicodedata.normalize("NFC", phrase))
    return re.search(rf"(?<!\w){inside}(?!\w)", unicodedata.normalize("NFC", text), re.IGNORECASE) is not None


def _syllables(word: str) -> int:
    plain = word.casefold()
    count = len(_VOWELS.findall(plain))
    return max(1, count - (plain.endswith("e") and not plain.endswith("le") and count > 1))
