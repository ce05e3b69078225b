"""The frame of a data set: runs of words that stand in many rows (instructions, templates, signatures).

Rows are compared by what is their own: two tickets under one long instruction are not alike because of it.
"""

import numpy as np

from metier.prepare.duplicates.shelf import Shelf
from metier.prepare.duplicates.words import Texts, Words, runs_of, words_of

RUN_WORDS = 12
FEWEST_ROWS = 20
SHARE = 0.02
_SAMPLE_ROWS = 4000
_MOST_SAMPLE_BYTES = 1 << 14


def frame_of(shelf: Shelf) -> np.ndarray:
    """Return the hashes of the frequent runs of words, sorted, uint64 [F].

    A run of `RUN_WORDS` is frequent when it stands in the share `SHARE` of the rows, and in `FEWEST_ROWS`. Up to 4,000
    rows are looked at, spread over all of them.
    """
    count = len(shelf)
    if count < FEWEST_ROWS:
        return np.empty(0, np.uint64)
    chosen = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE_ROWS)).astype(np.int64))
    short = chosen[shelf.sizes()[chosen] <= _MOST_SAMPLE_BYTES]
    seen = [np.empty(0, np.uint64)]
    for part in np.array_split(short, max(1, len(short) // 200)):
        words = words_of(shelf.take(part))
        runs = runs_of(words.hashes, words.owners, RUN_WORDS)
        rows = words.owners // 2
        kept = runs != 0
        order = np.lexsort((runs[kept], rows[kept]))
        runs, rows = runs[kept][order], rows[kept][order]
        first = np.ones(len(runs), bool)
        first[1:] = (runs[1:] != runs[:-1]) | (rows[1:] != rows[:-1])
        seen.append(runs[first])
    runs, counts = np.unique(np.concatenate(seen), return_counts=True)
    return runs[counts >= max(FEWEST_ROWS, SHARE * len(chosen))]


def in_frame(words: Words, frame: np.ndarray) -> np.ndarray:
    """Tell which words are covered by a frequent run, bool [W]."""
    covered = np.zeros(len(words.hashes), bool)
    if not len(frame):
        return covered
    runs = runs_of(words.hashes, words.owners, RUN_WORDS)
    places = np.searchsorted(frame, runs)
    begins = np.flatnonzero(frame[np.minimum(places, len(frame) - 1)] == runs)
    for step in range(RUN_WORDS):
        covered[begins + step] = True
    return covered


def bytes_in_frame(texts: Texts, frame: np.ndarray) -> np.ndarray | None:
    """Tell which bytes of a buffer belong to the frame, bool [B]; None: there is no frame."""
    if not len(frame):
        return None
    words = words_of(texts)
    covered = in_frame(words, frame)
    lengths = np.diff(words.ends, prepend=-1)
    marks = np.repeat(covered, lengths)
    return np.concatenate([marks, np.zeros(len(texts.buffer) - len(marks), bool)])
