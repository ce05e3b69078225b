"""Which words with a capital stand in a list, told of many texts at once: few do, and only those have to be read."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from metier.prepare.protect.sieve import WORTH_CHARACTERS

Standing = list[tuple[int, str]]
"""Where words of a list stand in a text, and the words, in order."""

_WORD = re.compile(r"[A-Z][A-Za-z]+")
_LETTERS, _ANY_LETTER = re.compile(r"[^\W\d_]+"), re.compile(r"[^\W\d_]")
_OTHER_LETTER = re.compile(r"[^\W\d_\x00-\x7f]")
_RARE = 64
"""In texts of which one character in so many is a letter that ASCII has not, words are sought one by one."""

_BITS = 20
_SHIFT = np.uint64(64 - _BITS)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_WINDOW = 8
_END = "\n" * _WINDOW
_FIRST_BYTES = np.array([(1 << (8 * count)) - 1 for count in range(_WINDOW + 1)], np.uint64)


class Listed:
    """Words of a list that begin with a capital.

    Args:
        words: the list; those of other signs than letters are never found.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._words = frozenset(words)
        known = (word for word in self._words if _WORD.fullmatch(word))
        self._sieve = np.zeros(1 << _BITS, bool)
        self._sieve[_beginnings("\n".join(["", *known, _END]))[1]] = True

    def standing(self, texts: Sequence[str]) -> list[Standing | None]:
        """Return for each text which of the words stand in it, with no letter or digit before them.

        Words with letters that ASCII has not are among them, and parts of such words may be. None where a text has many
        of those letters, or where all texts together are too short for it to be worth it.
        """
        sizes = list(map(len, texts))
        if sum(sizes) < WORTH_CHARACTERS:
            return [None] * len(texts)
        joined = "\n".join(["", *texts, _END])
        firsts = np.cumsum([1, *(size + 1 for size in sizes)])
        found: list[Standing | None] = [[] for _ in texts]
        begins, slots = _beginnings(joined)
        begins = begins[self._sieve[slots]]
        owners = np.searchsorted(firsts, begins, side="right") - 1
        for owner, place, start in zip(
            owners.tolist(), begins.tolist(), (begins - firsts[owners]).tolist(), strict=True
        ):
            word = _WORD.match(joined, place)
            if word is not None and word.group() in self._words:
                found[owner].append((start, word.group()))  # type: ignore[union-attr]
        others = _other_letters(joined)
        counts = np.bincount(np.searchsorted(firsts, others, side="right") - 1, minlength=len(texts))
        for owner in np.flatnonzero(counts).tolist():
            found[owner] = self._beside(texts[owner], found[owner]) if counts[owner] * _RARE < sizes[owner] else None
        return found

    def _beside(self, text: str, standing: Standing | None) -> Standing:
        """Add the words with letters that ASCII has not to those of a text in which these are rare."""
        found = dict(standing or ())
        for match in _OTHER_LETTER.finditer(text):
            start = match.start()
            while start and _ANY_LETTER.match(text, start - 1):
                start -= 1
            word = _LETTERS.match(text, start)
            if word is not None and word.group() in self._words:
                found[start] = word.group()
        return list(found.items())


def _beginnings(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Return where words of two letters and more begin with a capital, int64, and a slot of the sieve for each.

    Args:
        text: with no letter at its beginning and `_END` behind it.
    """
    content = np.frombuffer(text.encode("ascii", "replace"), np.uint8)
    capitals = np.flatnonzero(content - np.uint8(ord("A")) < 26)  # what stands before A wraps around
    before = content[capitals - 1]
    begins = capitals[~_letter(before) & (before - np.uint8(ord("0")) > 9) & _letter(content[capitals + 1])]
    windows = np.ndarray((len(content) - _WINDOW + 1,), "<u8", buffer=content.data, strides=(1,))[begins]
    letters = _letter(windows.view(np.uint8).reshape(-1, _WINDOW))
    sizes = np.where(letters.all(1), _WINDOW, letters.argmin(1))
    return begins, (((windows & _FIRST_BYTES[sizes]) * _ODD) >> _SHIFT).view(np.int64)


def _letter(content: np.ndarray) -> np.ndarray:
    return (content | np.uint8(32)) - np.uint8(ord("a")) < 26


def _other_letters(text: str) -> np.ndarray:
    """Return where letters and digits stand that ASCII has not, int64."""
    if text.isascii():
        return np.empty(0, np.int64)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    places = np.flatnonzero(codes > 127)
    kinds, which = np.unique(codes[places], return_inverse=True)
    return places[np.array([chr(code).isalnum() for code in kinds.tolist()], bool)[which]]
