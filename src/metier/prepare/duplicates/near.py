"""Near-duplicates: rows of which at least four words in five are the same, found without comparing all with all."""

from pathlib import Path

import numpy as np

from metier.prepare.duplicates.banding import gather
from metier.prepare.duplicates.clusters import Clusters
from metier.prepare.duplicates.frame import Frame, frame_of, in_frame, touched
from metier.prepare.duplicates.likeness import alike
from metier.prepare.duplicates.shelf import Shelf
from metier.prepare.duplicates.signatures import EMPTY, signatures
from metier.prepare.duplicates.sketches import Sketches
from metier.prepare.duplicates.words import Spots, mixed, places_of, windows_of, words_at

_BATCH_BYTES = 1 << 19
_PAIRS = 1 << 14
_PART = 1 << 18
_NEXT_BYTES = np.uint64(0xFFFF)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_FEWEST_AGREEING = 0.4
"""Pairs whose signatures agree in fewer places are not looked at any closer."""


def near(shelf: Shelf, folder: Path, least: float) -> np.ndarray:
    """Return the first row of every row's cluster of near-duplicates, int32 [rows]; a function of the rows alone.

    Args:
        shelf: what is compared of each row, in order.
        folder: an empty folder for the working files (about 480 bytes a row); the caller deletes it.
        least: share of common words, 0 to 1.
    """
    clusters = Clusters(len(shelf))
    usable = _join_equal(shelf, clusters)
    frame = frame_of(shelf)
    with Sketches(folder, len(shelf)) as sketches:
        usable &= _sketch(shelf, frame, sketches)

        def judge(pairs: np.ndarray) -> np.ndarray:
            result = np.zeros(len(pairs), bool)
            for start in range(0, len(pairs), _PAIRS):
                part = pairs[start : start + _PAIRS]
                likely = np.flatnonzero(sketches.agreeing(part) >= _FEWEST_AGREEING)
                result[start + likely] = alike(shelf, part[likely], frame, least)
            return result

        gather(sketches, usable, judge, clusters)
    return clusters.roots()


def _join_equal(shelf: Shelf, clusters: Clusters) -> np.ndarray:
    """Join rows that fold to the same words; tell which are the first of theirs, bool [rows]."""
    keys = np.empty(len(shelf), np.uint64)
    for start in range(0, len(shelf), _PART):
        rows = shelf.rows[start : start + _PART]
        keys[start : start + _PART] = rows["whole"] + mixed(rows["exact"])
    shelf.pages.let_go()
    first, parts = np.ones(len(shelf), bool), 1 + len(shelf) // _PART
    for part in range(parts):
        numbers = np.flatnonzero(keys % np.uint64(parts) == part)
        numbers = numbers[np.argsort(keys[numbers], kind="stable")]
        later = np.flatnonzero(keys[numbers[1:]] == keys[numbers[:-1]])
        clusters.join(np.stack([numbers[later], numbers[later + 1]], 1))
        first[numbers[later + 1]] = False
    return first


def _sketch(shelf: Shelf, frame: Frame, sketches: Sketches) -> np.ndarray:
    """Sketch every row; return which rows have any window outside of the frame, bool [rows]."""
    sketched = np.zeros(len(shelf), bool)
    for rows in shelf.batches(_BATCH_BYTES):
        texts = shelf.take(rows)
        places = places_of(texts)
        letters, owners = windows_of(texts.buffer)[places.begins], places.owners
        some = touched(letters, owners, frame)
        covered = in_frame(words_at(texts, Spots(*(column[some] for column in places)), letters[some]), frame)
        windows = _pairs_of_words(letters, owners)
        if covered.any():
            own = np.ones(len(windows), bool)
            own[some] = ~covered
            windows, owners = windows[own], owners[own]
        found = signatures(windows, owners >> 1, len(rows))
        sketched[rows[0] : rows[-1] + 1] = found[:, 0] != EMPTY
        sketches.add(found)
    sketches.seal()
    return sketched


def _pairs_of_words(windows: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Add the first letters of the word behind to each window: those of long words would tell one word alone.

    Both uint64 and int64 [W], as `signatures` takes them, but for the parts of rows; the last word of a part has none.
    """
    following = (windows[1:] & _NEXT_BYTES) * _ODD
    following[owners[1:] != owners[:-1]] = 0
    windows[:-1] += following
    return windows
