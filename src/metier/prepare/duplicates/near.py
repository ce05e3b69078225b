"""Near-duplicates: rows of which at least four words in five are the same, found without comparing all with all."""

from pathlib import Path

import numpy as np

from metier.prepare.duplicates.banding import gather
from metier.prepare.duplicates.clusters import Clusters
from metier.prepare.duplicates.frame import bytes_in_frame, frame_of
from metier.prepare.duplicates.likeness import alike
from metier.prepare.duplicates.shelf import Shelf
from metier.prepare.duplicates.signatures import BANDS, EMPTY, PLACES, ROWS_PER_BAND, signatures
from metier.prepare.duplicates.words import mixed

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
    bands, sketches, sketched = _sketch(shelf, frame, folder)
    if not len(shelf):
        return clusters.roots()

    def judge(pairs: np.ndarray) -> np.ndarray:
        result = np.zeros(len(pairs), bool)
        for start in range(0, len(pairs), 1 << 14):
            part = pairs[start : start + (1 << 14)]
            agreeing = (sketches[part[:, 0]] == sketches[part[:, 1]]).mean(1)
            likely = np.flatnonzero(agreeing >= _FEWEST_AGREEING)
            result[start + likely] = alike(shelf, part[likely], frame, least)
        return result

    gather(bands, firsts[sketched[firsts]], judge, clusters)
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


def _sketch(shelf: Shelf, frame: np.ndarray, folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Write the band hashes, uint32 [BANDS, rows], and eight bits of each place, uint8 [rows, PLACES], to files.

    Returns:
        both, and which rows have any window outside of the frame, bool [rows].
    """
    sketched = np.zeros(len(shelf), bool)
    count = max(len(shelf), 1)
    bands = np.memmap(folder / "bands", np.uint32, "w+", shape=(BANDS, count)).view(np.ndarray)
    sketches = np.memmap(folder / "sketches", np.uint8, "w+", shape=(count, PLACES)).view(np.ndarray)
    for rows in shelf.batches(_BATCH_BYTES):
        texts, part = shelf.take(rows), slice(rows[0], rows[-1] + 1)
        found = signatures(texts.buffer, texts.starts[:, 0], bytes_in_frame(texts, frame))
        sketched[part] = found[:, 0] != EMPTY
        bands[:, part] = _band_hashes(found).T
        sketches[part] = (found & np.uint32(0xFF)).astype(np.uint8)
    return bands, sketches, sketched


def _band_hashes(found: np.ndarray) -> np.ndarray:
    """Hash the places of each band, uint32 [rows, BANDS]."""
    places = found.reshape(len(found), BANDS, ROWS_PER_BAND).astype(np.uint64)
    total = places[:, :, 0]
    for step in range(1, ROWS_PER_BAND):
        total = mixed(total) + places[:, :, step]
    return (mixed(total) >> np.uint64(32)).astype(np.uint32)
