"""Near-duplicates: rows of which at least four words in five are the same, found without comparing all with all."""

from pathlib import Path

import numpy as np

from metier.prepare.duplicates.banding import gather
from metier.prepare.duplicates.clusters import Clusters
from metier.prepare.duplicates.frame import bytes_in_frame, frame_of
from metier.prepare.duplicates.likeness import alike
from metier.prepare.duplicates.shelf import Shelf
from metier.prepare.duplicates.signatures import EMPTY, signatures
from metier.prepare.duplicates.sketches import Sketches

_BATCH_BYTES = 1 << 17
_FEWEST_AGREEING = 0.4
"""Pairs whose signatures agree in fewer places are not looked at any closer."""


def near(shelf: Shelf, folder: Path, least: float) -> np.ndarray:
    """Return the first row of every row's cluster of near-duplicates, int32 [rows]; a function of the rows alone.

    Args:
        shelf: what is compared of each row, in order.
        folder: an empty folder for the working files (about 320 bytes a row); the caller deletes it.
        least: share of common words, 0 to 1.
    """
    clusters = Clusters(len(shelf))
    firsts = _join_equal(shelf, clusters)
    frame = frame_of(shelf)
    if not len(shelf):
        return clusters.roots()
    with Sketches(folder, len(shelf)) as sketches:
        sketched = _sketch(shelf, frame, sketches)

        def judge(pairs: np.ndarray) -> np.ndarray:
            result = np.zeros(len(pairs), bool)
            for start in range(0, len(pairs), 1 << 14):
                part = pairs[start : start + (1 << 14)]
                likely = np.flatnonzero(sketches.agreeing(part) >= _FEWEST_AGREEING)
                result[start + likely] = alike(shelf, part[likely], frame, least)
            return result

        gather(sketches.bands(), firsts[sketched[firsts]], judge, clusters)
    return clusters.roots()


def _join_equal(shelf: Shelf, clusters: Clusters) -> np.ndarray:
    """Join rows that fold to the same words; return the first of each, int64."""
    order = np.lexsort((np.arange(len(shelf)), shelf.rows["exact"], shelf.rows["whole"]))
    rows = shelf.rows[order]
    same = np.zeros(len(order), bool)
    same[1:] = (rows["whole"][1:] == rows["whole"][:-1]) & (rows["exact"][1:] == rows["exact"][:-1])
    later = np.flatnonzero(same)
    clusters.join(np.stack([order[later - 1], order[later]], 1))
    return np.sort(order[~same])


def _sketch(shelf: Shelf, frame: np.ndarray, sketches: Sketches) -> np.ndarray:
    """Sketch every row; return which rows have any window outside of the frame, bool [rows]."""
    sketched = np.zeros(len(shelf), bool)
    for rows in shelf.batches(_BATCH_BYTES):
        texts = shelf.take(rows)
        found = signatures(texts.buffer, texts.starts[:, 0], bytes_in_frame(texts, frame))
        sketched[rows[0] : rows[-1] + 1] = found[:, 0] != EMPTY
        sketches.add(found)
    return sketched
