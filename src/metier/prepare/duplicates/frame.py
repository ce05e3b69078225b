"""The frame of a data set: runs of words that stand in many rows (instructions, templates, signatures).

Rows are compared by what is their own: two tickets under one long instruction are not alike because of it.
"""

import numpy as np

from metier.prepare.duplicates.shelf import Shelf
from metier.prepare.duplicates.words import Words, runs_of, words_of

RUN_WORDS = 12
FEWEST_ROWS = 20
SHARE = 0.02
_SAMPLE_ROWS = 4000
_MOST_SAMPLE_BYTES = 1 << 14
_ROWS_TOGETHER = 200
_BUCKETED = np.uint64(64 - 18)
_SIEVE_BITS = 14
_SIEVED = np.uint64(64 - _SIEVE_BITS)


def frame_of(shelf: Shelf) -> np.ndarray:
    """Return the hashes of the frequent runs of words, sorted, uint64 [F].

    A run of `RUN_WORDS` is frequent when it stands in the share `SHARE` of the rows, and in `FEWEST_ROWS`. Up to 4,000
    rows are looked at, spread over all of them.
    """
    count = len(shelf)
    if count < FEWEST_ROWS:
        return np.empty(0, np.uint64)
    chosen = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE_ROWS)).astype(np.int64))
    rows = shelf.of(chosen)
    short = chosen[rows["end"] - rows["begin"] <= _MOST_SAMPLE_BYTES]
    fewest = max(FEWEST_ROWS, SHARE * len(chosen))
    runs, rows = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for part in np.array_split(short, max(1, len(short) // _ROWS_TOGETHER)):
        words = words_of(shelf.take(part))
        found = runs_of(words.hashes, words.owners, RUN_WORDS)
        kept = found != 0
        runs.append(found[kept])
        rows.append(part[words.owners[kept] // 2])
    every, of = np.concatenate(runs), np.concatenate(rows)
    several = np.flatnonzero(_crowded(every, fewest))
    several = several[
        np.isin(every[several], _at_least(np.sort(every[several]), fewest))
    ]  # in so many places, if not rows
    pairs = np.unique(np.stack([every[several], of[several].astype(np.uint64)], 1), axis=0)
    return _at_least(pairs[:, 0], fewest)


def _crowded(values: np.ndarray, fewest: float) -> np.ndarray:
    """Tell which values may stand there so often, bool: their buckets hold so many. Far fewer are left to be sorted."""
    buckets = (values >> _BUCKETED).astype(np.int64)
    return (np.bincount(buckets, minlength=1) >= fewest)[buckets]


def _at_least(ordered: np.ndarray, fewest: float) -> np.ndarray:
    """Return the values that stand so often among ordered ones, in order."""
    begins = np.flatnonzero(np.diff(ordered, prepend=~ordered[:1]))
    return ordered[begins[np.diff(np.append(begins, len(ordered))) >= fewest]]


def in_frame(words: Words, frame: np.ndarray) -> np.ndarray:
    """Tell which words are covered by a frequent run, bool [W]."""
    covered = np.zeros(len(words.hashes), bool)
    if not len(frame):
        return covered
    runs = runs_of(words.hashes, words.owners, RUN_WORDS)
    sieve = np.zeros(1 << _SIEVE_BITS, bool)
    sieve[frame >> _SIEVED] = True
    likely = np.flatnonzero(sieve[runs >> _SIEVED])
    places = np.searchsorted(frame, runs[likely])
    begins = likely[frame[np.minimum(places, len(frame) - 1)] == runs[likely]]
    for step in range(RUN_WORDS):
        covered[begins + step] = True
    return covered
