"""The frame of a data set: runs of words that stand in many rows (instructions, templates, signatures).

Rows are compared by what is their own: two tickets under one long instruction are not alike because of it.
"""

from typing import NamedTuple

import numpy as np

from metier.prepare.duplicates.shelf import Shelf
from metier.prepare.duplicates.words import Words, places_of, runs_of, windows_of, words_at

RUN_WORDS = 12
FEWEST_ROWS = 20
SHARE = 0.02
_SAMPLE_ROWS = 4000
_MOST_SAMPLE_BYTES = 1 << 14
_ROWS_TOGETHER = 200
_FEWEST_BUCKET_BITS = 14
_SIEVE_BITS = 14
_SIEVED = np.uint64(64 - _SIEVE_BITS)
_ODD = np.uint64(0x9E3779B97F4A7C15)


class Frame(NamedTuple):
    """The frequent runs: their hashes, in order, and the eight bytes from where each begins; uint64 [F] both."""

    runs: np.ndarray
    letters: np.ndarray


NO_FRAME = Frame(np.empty(0, np.uint64), np.empty(0, np.uint64))


def frame_of(shelf: Shelf) -> Frame:
    """Return the frequent runs of words.

    A run of `RUN_WORDS` is frequent when it stands in the share `SHARE` of the rows, and in `FEWEST_ROWS`. Up to 4,000
    rows are looked at, spread over all of them.
    """
    count = len(shelf)
    if count < FEWEST_ROWS:
        return NO_FRAME
    chosen = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE_ROWS)).astype(np.int64))
    rows = shelf.of(chosen)
    short = chosen[rows["end"] - rows["begin"] <= _MOST_SAMPLE_BYTES]
    fewest = max(FEWEST_ROWS, SHARE * len(chosen))
    seen = []
    for part in np.array_split(short, max(1, len(short) // _ROWS_TOGETHER)):
        texts = shelf.take(part)
        spots = places_of(texts)
        letters = windows_of(texts.buffer)[spots.begins]
        seen.append((runs_of(words_at(texts, spots, letters).hashes, spots.owners, RUN_WORDS), spots.owners, letters))
    return _frequent(seen, fewest)


def _frequent(seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]], fewest: float) -> Frame:
    """Return the runs that stand in so many rows; `seen` are runs (or 0), owners and letters of every word, by part."""
    crowded = _crowded(np.concatenate([runs for runs, _, _ in seen]), fewest)
    begins = np.cumsum([0, *(len(runs) for runs, _, _ in seen)])
    columns = []
    for number, (runs, owners, letters) in enumerate(seen):
        here = crowded[slice(*np.searchsorted(crowded, begins[number : number + 2]))] - begins[number]
        columns.append((runs[here], (owners[here] >> 1) + begins[number], letters[here]))
    every, rows, letters = map(np.concatenate, zip(*columns, strict=True))
    several = np.flatnonzero(np.isin(every, _at_least(np.sort(every), fewest)))  # in so many places, if not rows
    order = several[np.lexsort((rows[several], every[several]))]
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(every[order]) != 0) | (np.diff(rows[order]) != 0)
    frequent = _at_least(every[order[new]], fewest)
    return Frame(frequent, letters[order[np.searchsorted(every[order], frequent)]])


def _crowded(values: np.ndarray, fewest: float) -> np.ndarray:
    """Return where values stand, none of them 0, that may stand there so often: their buckets hold so many."""
    bits = max(_FEWEST_BUCKET_BITS, (len(values) >> 3).bit_length())
    buckets = (values >> np.uint64(64 - bits)).view(np.int64)
    full = np.bincount(buckets, minlength=1) >= fewest
    places = np.flatnonzero(full[buckets])
    return places[values[places] != 0]


def _at_least(ordered: np.ndarray, fewest: float) -> np.ndarray:
    """Return the values that stand so often among ordered ones, in order."""
    begins = np.flatnonzero(np.diff(ordered, prepend=~ordered[:1]))
    return ordered[begins[np.diff(np.append(begins, len(ordered))) >= fewest]]


def in_frame(words: Words, frame: Frame) -> np.ndarray:
    """Tell which words are covered by a frequent run, bool [W]."""
    covered = np.zeros(len(words.hashes), bool)
    if not len(frame.runs):
        return covered
    runs = runs_of(words.hashes, words.owners, RUN_WORDS)
    likely = _sifted(runs, frame.runs)
    places = np.searchsorted(frame.runs, runs[likely])
    begins = likely[frame.runs[np.minimum(places, len(frame.runs) - 1)] == runs[likely]]
    for step in range(RUN_WORDS):
        covered[begins + step] = True
    return covered


def touched(letters: np.ndarray, owners: np.ndarray, frame: Frame) -> np.ndarray:
    """Return which words, ascending, stand in a text in which a frequent run may begin: the others are in no frame.

    Args:
        letters: uint64 [W], the eight bytes from where each word begins.
        owners: int64 [W], as in `Words`.
        frame: the frequent runs.
    """
    likely = _sifted(letters * _ODD, frame.letters * _ODD)
    if not len(likely):
        return likely
    texts = np.zeros(owners[-1] + 1, bool)
    texts[owners[likely]] = True
    return np.flatnonzero(texts[owners])


def _sifted(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return where values stand whose upper bits are those of a known one."""
    sieve = np.zeros(1 << _SIEVE_BITS, bool)
    sieve[known >> _SIEVED] = True
    return np.flatnonzero(sieve[(values >> _SIEVED).view(np.int64)])
