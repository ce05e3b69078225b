"""Texts as words and words as numbers: what is left of a text when case, spaces and punctuation are taken away."""

import unicodedata
from collections.abc import Sequence
from hashlib import blake2b
from itertools import chain
from typing import NamedTuple

import numpy as np
import pyarrow as arrow

_KEPT_SIGNS = "/%&@#\\$+<=>^`|~"
_TABLE = bytes(
    byte if byte >= 128 or byte == 0 or chr(byte).isalnum() or chr(byte) in _KEPT_SIGNS else 32
    for byte in range(256)
).lower()  # fmt: skip
"""Letters and digits stay, symbols too (+ and < tell things apart, so do / and %); other punctuation is a space."""

_PART_END = "\0"
_SPACE = np.uint8(32)
PADDING = 7
"""Spaces behind every row, so that a window of eight bytes can begin at each of its own."""

_ROW_END = b" " * PADDING

_SPACED = (("\u3040", "\u30ff"), ("\u3400", "\u9fff"), ("\uf900", "\ufaff"))
"""Scripts that set no spaces: each of their characters counts as a word."""

_MANY = 24
"""Up to so many different characters are replaced one after the other: `str.translate` looks at every character."""

_PRIME = 0x9E3779B97F4A7C15
_FIRST_BYTES = np.array([(1 << (8 * count)) - 1 for count in range(9)], np.uint64)
"""Masks that leave so many bytes of a window."""

_LONG_WORD = 128
"""Longer words (there are few) are hashed one by one."""


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
    parts, width = list(chain.from_iterable(rows)), len(rows[0])
    filled = [index for index, part in enumerate(parts) if part]
    folded = [b""] * len(parts)
    for index, part in zip(filled, _folded([parts[index] for index in filled]), strict=True):
        folded[index] = part or b"".join(b"u%x " % ord(character) for character in "".join(parts[index].split()))
    lengths = np.fromiter(map(len, folded), np.int64, len(folded))
    starts = np.append(0, np.cumsum(lengths)[:-1]) + PADDING * (np.arange(len(folded)) // width)
    pieces = [_ROW_END] * (len(rows) * (width + 1))
    for column in range(width):
        pieces[column :: width + 1] = folded[column::width]
    return Texts(np.frombuffer(b"".join(pieces), np.uint8), starts.reshape(-1, width))


def _folded(parts: Sequence[str]) -> list[bytes]:
    """Return texts as words with one space behind each, in UTF-8."""
    folded = [b""] * len(parts)
    plain = [part.isascii() for part in parts]
    for ascii_only in (True, False):
        numbers = [number for number, found in enumerate(plain) if found is ascii_only]
        if not numbers:
            continue
        chosen = parts if len(numbers) == len(parts) else [parts[number] for number in numbers]
        words = _words_of(chosen, ascii_only=ascii_only)
        if len(words) != len(numbers):  # some text holds the sign that parts end with
            words = _words_of([part.replace(_PART_END, " ") for part in chosen], ascii_only=ascii_only)
        for number, part in zip(numbers, words, strict=True):
            folded[number] = part
    return folded


def _words_of(parts: Sequence[str], *, ascii_only: bool) -> list[bytes]:
    """Return the words of texts; another number of texts when one of them holds `_PART_END`."""
    joined = f" {_PART_END}".join(parts)
    text = joined if ascii_only else _plain(joined)
    content = np.frombuffer(f"{text} ".encode("utf-8", "replace").translate(_TABLE), np.uint8)
    kept = content != _SPACE
    kept[1:] |= content[:-1] > _SPACE  # a space behind a word; a part begins behind a zero
    bits = arrow.py_buffer(np.packbits(kept, bitorder="little"))
    chosen = arrow.Array.from_buffers(arrow.bool_(), len(kept), [None, bits])
    found = arrow.array(content).filter(chosen).to_numpy()  # several times as fast as content[kept]
    return found.tobytes().split(_PART_END.encode())


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


class Spots(NamedTuple):
    """Where words begin and end, and whose they are, as in `Words`."""

    begins: np.ndarray
    ends: np.ndarray
    owners: np.ndarray


def words_of(texts: Texts) -> Words:
    """Find and hash the words of folded rows; the parts of all rows are numbered through."""
    spots = places_of(texts)
    return words_at(texts, spots, windows_of(texts.buffer)[spots.begins])


def words_at(texts: Texts, spots: Spots, letters: np.ndarray) -> Words:
    """Hash words that have been found; `letters` uint64 [W] are the eight bytes from the beginning of each."""
    begins, ends, owners = spots
    windows, lengths = windows_of(texts.buffer), ends - begins
    hashes = mixed((letters & _FIRST_BYTES[np.minimum(lengths, 8)]) + lengths.astype(np.uint64))
    further = np.flatnonzero(lengths > 8)
    for index in further[lengths[further] > _LONG_WORD].tolist():
        content = texts.buffer[begins[index] : ends[index]].tobytes()
        hashes[index] = int.from_bytes(blake2b(content, digest_size=8).digest(), "little")
    further = further[lengths[further] <= _LONG_WORD]
    for done in range(8, _LONG_WORD, 8):
        further = further[lengths[further] > done]
        if not len(further):
            break
        left = np.minimum(lengths[further] - done, 8)
        hashes[further] = mixed(hashes[further] + (windows[begins[further] + done] & _FIRST_BYTES[left]))
    return Words(hashes, begins, ends, owners)


def places_of(texts: Texts) -> Spots:
    """Return where the words begin and end, and whose they are."""
    spaces = texts.buffer == 32
    edges = np.flatnonzero(spaces[1:] != spaces[:-1]) + 1
    if len(spaces) and not spaces[0]:
        edges = np.concatenate([[0], edges])
    begins, ends = edges[::2], edges[1::2]
    starts = texts.starts.ravel()
    counts = np.diff(np.searchsorted(begins, starts), append=len(begins))
    return Spots(begins, ends, np.repeat(np.arange(len(starts)), counts))


def windows_of(buffer: np.ndarray) -> np.ndarray:
    """Return the eight bytes from each place that has so many behind it, uint64 [B - PADDING]; nothing is copied."""
    return np.ndarray((max(len(buffer) - PADDING, 0),), "<u8", buffer=buffer.data, strides=(1,))


def mixed(values: np.ndarray) -> np.ndarray:
    """Scatter 64-bit numbers so that near ones end up far apart (the finaliser of SplitMix64), uint64, same shape."""
    values = values ^ (values >> np.uint64(30))
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def runs_of(hashes: np.ndarray, owners: np.ndarray, length: int) -> np.ndarray:
    """Hash every run of `length` words inside one text.

    Returns:
        uint64 [W]: the run that begins at each word; 0 where the text has not so many words left.
    """
    runs = np.zeros(len(hashes), np.uint64)
    count = len(hashes) - length + 1
    if count <= 0:
        return runs
    total = _run(hashes, length)[:count]
    inside = owners[:count] == owners[length - 1 :]
    runs[:count] = np.where(inside, mixed(total) | np.uint64(1), 0)
    return runs


def _run(hashes: np.ndarray, length: int) -> np.ndarray:
    """Return Σ hashes[i + j] · PRIME^(length − 1 − j) for every i, by halves."""
    if length == 1:
        return hashes
    half = _run(hashes, length // 2)
    size = length // 2
    both = half[:-size] * np.uint64(pow(_PRIME, size, 1 << 64)) + half[size:]
    return both if length % 2 == 0 else both[:-1] * np.uint64(_PRIME) + hashes[length - 1 :]
