"""Texts as words and words as numbers: what is left of a text when case, spaces and punctuation are taken away."""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

_KEPT_SIGNS = "/%&@#\\$+<=>^`|~"
_TABLE = bytes(
    byte if byte >= 128 or byte in (0, 1) or chr(byte).isalnum() or chr(byte) in _KEPT_SIGNS else 32
    for byte in range(256)
).lower()  # fmt: skip
"""Letters and digits stay, symbols too (+ and < tell things apart, so do / and %); other punctuation is a space."""

_PART_END = "\0"
_PADDING_MARK = "\1"
PADDING = 7
"""Spaces behind every row, so that a window of eight bytes can begin at each of its own."""

_SPACED = (("\u3040", "\u30ff"), ("\u3400", "\u9fff"), ("\uf900", "\ufaff"))
"""Scripts that set no spaces: each of their characters counts as a word."""

_MANY = 24
"""Up to so many different characters are replaced one after the other: `str.translate` looks at every character."""

_PRIME = 0x9E3779B97F4A7C15
_INVERSE = pow(_PRIME, -1, 1 << 64)


class Texts(NamedTuple):
    """Some rows in one buffer.

    `buffer` uint8 [B]: words in lower case, each followed by one space, and `PADDING` spaces behind each row. `starts`
    int64 [rows, parts]: where each part of a row begins.
    """

    buffer: np.ndarray
    starts: np.ndarray


def fold(rows: Sequence[tuple[str, ...]]) -> Texts:
    """Reduce rows of one or more parts to their words; texts of equal words but other case or punctuation are equal.

    A part without any letter, digit or symbol ("?!") is kept by the names of its characters.
    """
    texts = _fold(rows)
    flat = texts.starts.ravel()
    ends = np.append(flat[1:], len(texts.buffer))
    ends[texts.starts.shape[1] - 1 :: texts.starts.shape[1]] -= PADDING
    parts = [part for row in rows for part in row]
    bare = [index for index in np.flatnonzero(ends == flat).tolist() if parts[index].strip()]
    if not bare:
        return texts
    for index in bare:
        parts[index] = " ".join(f"u{ord(character):x}" for character in "".join(parts[index].split()))
    return _fold(list(zip(*[iter(parts)] * texts.starts.shape[1], strict=True)))


def _fold(rows: Sequence[tuple[str, ...]]) -> Texts:
    row_end = _PART_END + _PADDING_MARK * PADDING
    joined = "".join([_PART_END.join(row) + row_end for row in rows])
    count, parts = len(rows), len(rows[0])
    if joined.count(_PART_END) != count * parts or joined.count(_PADDING_MARK) != count * PADDING:
        return _fold([tuple(part.replace(_PART_END, " ").replace(_PADDING_MARK, " ") for part in row) for row in rows])
    plain = joined if joined.isascii() else _plain(joined)
    content = np.frombuffer(plain.encode("utf-8", "replace").translate(_TABLE), np.uint8)
    gap = (content == 32) | (content < 2)
    kept = ~gap
    kept[1:] |= ~gap[:-1]
    kept |= content == 1
    marks = np.flatnonzero(content == 0)
    lengths = np.add.reduceat(kept.view(np.uint8), np.append(0, marks[:-1] + 1), dtype=np.int64)
    starts = np.append(0, np.cumsum(lengths)[:-1])
    starts[parts::parts] += PADDING
    buffer = content[kept]
    buffer[buffer < 2] = 32
    return Texts(buffer, starts.reshape(count, parts))


def _plain(text: str) -> str:
    """Lower the case, turn punctuation of all scripts into spaces and part characters that stand for words."""
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    codes = np.frombuffer(text.encode("utf-32-le", "replace"), "<u4")
    table: dict[int, str] = {}
    for code in np.unique(codes[codes > 127]).tolist():
        character = chr(code)
        instead = unicodedata.normalize("NFKC", character).casefold()
        if unicodedata.category(character)[0] in "PZC":
            instead = " "
        elif any(first <= character <= last for first, last in _SPACED):
            instead = f" {instead} "
        if instead != character:
            table[code] = instead
    if len(table) > _MANY:
        return text.translate(table)
    for code, instead in table.items():
        text = text.replace(chr(code), instead)
    return text


class Words(NamedTuple):
    """The words of some rows that stand one after the other in a buffer.

    `hashes` uint64 [W]; `begins`, `ends` int64 [W]: the place of the first letter and of the space behind; `owners`
    int64 [W]: row × parts + part.
    """

    hashes: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    owners: np.ndarray


def words_of(texts: Texts) -> Words:
    """Find and hash the words of folded rows; the parts of all rows are numbered through."""
    buffer = texts.buffer
    spaces = buffer == 32
    ends = np.flatnonzero(spaces[1:] & ~spaces[:-1]) + 1
    begins = np.flatnonzero(~spaces[1:] & spaces[:-1]) + 1
    if len(buffer) and not spaces[0]:
        begins = np.concatenate([[0], begins])
    powers, inverses = _powers(max(16, len(buffer)).bit_length())
    sums = np.zeros(len(buffer) + 1, np.uint64)
    np.cumsum(powers[: len(buffer)] * buffer, out=sums[1:])
    hashes = mixed((sums[ends] - sums[begins]) * inverses[begins] + (ends - begins).astype(np.uint64))
    owners = np.searchsorted(texts.starts.ravel(), begins, side="right") - 1
    return Words(hashes, begins, ends, owners)


@lru_cache(maxsize=4)
def _powers(bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first 2^bits powers of an odd number modulo 2^64 and of its inverse."""
    both = []
    for factor in (_PRIME, _INVERSE):
        powers = np.full(1 << bits, factor, np.uint64)
        powers[0] = 1
        both.append(np.cumprod(powers, dtype=np.uint64))
    return both[0], both[1]


def mixed(values: np.ndarray) -> np.ndarray:
    """Scatter 64-bit numbers so that near ones end up far apart (the finaliser of SplitMix64), uint64, same shape."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def runs_of(hashes: np.ndarray, owners: np.ndarray, length: int) -> np.ndarray:
    """Hash every run of `length` words inside one text.

    Returns:
        uint64 [W]: the run that begins at each word; 0 where the text has not so many words left.
    """
    runs = np.zeros(len(hashes), np.uint64)
    count = len(hashes) - length + 1
    if count <= 0:
        return runs
    total = hashes[:count].copy()
    for step in range(1, length):
        total = total * np.uint64(_PRIME) + hashes[step : step + count]
    inside = owners[:count] == owners[length - 1 :]
    runs[:count] = np.where(inside, mixed(total) | np.uint64(1), 0)
    return runs
