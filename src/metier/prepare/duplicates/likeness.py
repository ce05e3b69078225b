"""How alike two rows are: the share of their own words that they have in common, checked side by side."""

from typing import NamedTuple

import numpy as np

from metier.prepare.duplicates.frame import Frame, in_frame
from metier.prepare.duplicates.shelf import Shelf
from metier.prepare.duplicates.words import Words, mixed, runs_of, words_of

_BATCH_BYTES = 1 << 20
_BATCH_PAIRS = 1 << 11
"""So many bytes of text and so many pairs are looked at together: short rows, too, have a table of counts each."""

SHORT_WORDS = 60
"""Rows with fewer words of their own are compared by runs of four letters: there one other word is another meaning
("for 3 quarters", "for 3 dimes"), a misspelt one is not."""

_GRAM_BYTES = 4
_BUCKET_BITS = 9
_SLACK = {"words": (5, 1), "grams": (25, 8)}
"""A part of at least so many items may differ by so many more, about one word: questions are short."""


class _Shared(NamedTuple):
    """Per pair and part: items that both have, and the greater number of items of the two; int64 [pairs, 2] each."""

    common: np.ndarray
    most: np.ndarray


class _Items(NamedTuple):
    """Hashes of what is counted, uint64 [W], and which part of which row each belongs to, int64 [W], ascending."""

    hashes: np.ndarray
    owners: np.ndarray


def alike(shelf: Shelf, pairs: np.ndarray, frame: Frame, least: float) -> np.ndarray:
    """Tell which pairs of rows are near-duplicates.

    A pair is one when what must be equal is equal (kind and label), at least the share `least` of the words is common
    to both, question and answer each pass alone too (with one word of slack), and the words stand in the same order as
    far as that many changed words leave it. Short rows are compared by runs of four letters instead of words, and
    their numbers must be the same.

    Args:
        shelf: the rows.
        pairs: int64 [P, 2], row numbers.
        frame: the frequent runs of words, which do not count.
        least: share of common words, 0 to 1.
    """
    rows = shelf.of(pairs)
    result, sizes = rows["exact"][:, 0] == rows["exact"][:, 1], rows["end"] - rows["begin"]
    open_pairs = np.flatnonzero(result)
    batches = np.cumsum(sizes[open_pairs].sum(1)) // _BATCH_BYTES + np.arange(len(open_pairs)) // _BATCH_PAIRS
    for part in np.split(open_pairs, np.flatnonzero(np.diff(batches)) + 1):
        if len(part):
            result[part] = _judge(shelf, pairs[part], frame, least)
    return result


def _judge(shelf: Shelf, pairs: np.ndarray, frame: Frame, least: float) -> np.ndarray:
    rows, inverse = np.unique(pairs.ravel(), return_inverse=True)
    sides = inverse.reshape(-1, 2)
    texts = shelf.take(rows)
    words = words_of(texts)
    covered = in_frame(words, frame)
    if len(frame.runs):
        own = np.bincount(words.owners[~covered], minlength=texts.starts.size)
        covered &= own[words.owners] > 0  # a part that is nothing but frame is compared whole
    singles = _Items(words.hashes[~covered], words.owners[~covered])
    short = np.bincount(singles.owners >> 1, minlength=len(rows))[sides].min(1) < SHORT_WORDS
    result = np.zeros(len(pairs), bool)
    long = np.flatnonzero(~short)
    long = long[_possible(singles, sides[long], least, "words")]
    if len(long):
        result[long] = _enough(_shared(singles, sides[long]), least, *_SLACK["words"])
        long = long[result[long]]
    if len(long):
        result[long] = _in_order(singles, sides[long], least)
    brief = np.flatnonzero(short)
    if len(brief):
        needed = np.zeros(len(rows), bool)
        needed[sides[brief]] = True
        grams = _grams(texts.buffer, words, ~covered & needed[words.owners // 2])
        brief = brief[_possible(grams, sides[brief], least, "grams")]
        if len(brief):
            result[brief] = _enough(_shared(grams, sides[brief]), least, *_SLACK["grams"])
            result[brief] &= _same_numbers(texts.buffer, words, sides[brief])
    return result


def _possible(items: _Items, sides: np.ndarray, least: float, kind: str) -> np.ndarray:
    """Tell which pairs may share enough, cheaply: by their sizes, then by counts in few buckets.

    Both show too much in common, never too little. `sides` int64 [P, 2] are row numbers.
    """
    count = int(sides.max(initial=-1)) + 1
    sizes = np.bincount(items.owners, minlength=2 * count)[: 2 * count].reshape(-1, 2)
    both = sizes[sides]
    result = _enough(_Shared(both.min(1), both.max(1)), least, *_SLACK[kind])
    left = sides[result]
    rows = np.unique(left)
    numbers = np.full(count + 1, -1)
    numbers[rows] = np.arange(len(rows))
    of = numbers[np.minimum(items.owners >> 1, count)]
    spots = (items.hashes >> np.uint64(64 - _BUCKET_BITS)).astype(np.int64) + (of << _BUCKET_BITS)
    table = np.bincount(spots[of >= 0], minlength=len(rows) << _BUCKET_BITS).astype(np.uint32)
    table = table.reshape(-1, 1 << _BUCKET_BITS)
    common = np.minimum(table[numbers[left[:, 0]]], table[numbers[left[:, 1]]]).sum(1, dtype=np.int64)
    result[result] = common >= least * sizes.sum(1)[left].max(1) - 1e-9
    return result


def _grams(buffer: np.ndarray, words: Words, counted: np.ndarray) -> _Items:
    """Return the runs of four bytes that begin in the counted words or in the space behind them."""
    runs = np.ndarray((len(buffer) - _GRAM_BYTES + 1,), "<u4", buffer=buffer.data, strides=(1,))
    begins, lengths = words.begins[counted], (words.ends - words.begins)[counted] + 1
    places = np.arange(lengths.sum()) + np.repeat(begins - np.cumsum(lengths) + lengths, lengths)
    return _Items(mixed(runs[places].astype(np.uint64)), np.repeat(words.owners[counted], lengths))


def _same_numbers(buffer: np.ndarray, words: Words, sides: np.ndarray) -> np.ndarray:
    """Tell where the words with a digit in them are the same: another number is another case, not a slip."""
    digits = np.flatnonzero(buffer - np.uint8(ord("0")) < 10)  # what stands before 0 wraps around
    with_digit = np.unique(np.searchsorted(words.begins, digits, side="right") - 1)
    found = _shared(_Items(words.hashes[with_digit], words.owners[with_digit]), sides)
    return (found.most == found.common).all(1)


def _enough(found: _Shared, least: float, large: int, slack: int) -> np.ndarray:
    changed = found.most - found.common
    whole = changed.sum(1) <= (1 - least) * found.most.sum(1) + 1e-9
    parts = changed <= np.floor((1 - least) * found.most + 1e-9) + slack * (found.most >= large)
    return whole & parts.all(1)


def _in_order(items: _Items, sides: np.ndarray, least: float) -> np.ndarray:
    """Tell where no more pairs of neighbouring words are broken than the changed words explain, two for each."""
    needed = np.zeros(int(sides.max()) + 2, bool)
    needed[sides] = True
    kept = needed[np.minimum(items.owners >> 1, len(needed) - 1)]
    owners = items.owners[kept]
    runs = runs_of(items.hashes[kept], owners, 2)
    found = _shared(_Items(runs[runs != 0], owners[runs != 0]), sides)
    most = found.most.sum(1)
    return most - found.common.sum(1) <= 2 * (1 - least) * most + 2


def _shared(items: _Items, sides: np.ndarray) -> _Shared:
    """Count what the two rows of each pair have in common, part by part.

    Args:
        items: of all rows here; owner = 2 × row + part.
        sides: int64 [P, 2], row numbers here.
    """
    bounds = np.searchsorted(items.owners, np.arange(2 * (sides.max() + 1) + 1))
    parts = (2 * sides[:, None, :] + np.arange(2)[None, :, None]).reshape(-1, 2)  # [P × 2, 2]
    sizes = bounds[parts + 1] - bounds[parts]
    keys = []
    for side in range(2):
        count = sizes[:, side]
        numbers = np.repeat(np.arange(len(parts)), count)
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        taken = items.hashes[bounds[parts[numbers, side]] + within]
        name = (numbers.astype(np.uint64) << np.uint64(39)) | (taken >> np.uint64(25))
        keys.append((name << np.uint64(1)) | np.uint64(side))
    ordered = np.sort(np.concatenate(keys))
    common = np.zeros(len(parts), np.int64)
    if len(ordered):
        first = np.flatnonzero(np.diff(ordered >> np.uint64(1), prepend=~(ordered[:1] >> np.uint64(1))))
        totals = np.diff(np.append(first, len(ordered)))
        right = np.add.reduceat((ordered & np.uint64(1)).astype(np.int64), first)
        np.add.at(common, (ordered[first] >> np.uint64(40)).astype(np.int64), np.minimum(right, totals - right))
    return _Shared(common.reshape(-1, 2), sizes.max(1).reshape(-1, 2))
