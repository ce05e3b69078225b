"""Semantic duplicates: rows whose static sentence embeddings point in nearly the same direction."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from metier.prepare.duplicates.clusters import Clusters
from metier.prepare.duplicates.shelf import Compared
from metier.text.embeddings import Embeddings

_BATCH_ROWS = 1024


def semantic(rows: Iterable[Compared], folder: Path, least: float) -> np.ndarray:
    """Return the first row of every row's cluster of rows that say the same, int32 [rows].

    Question and answer are embedded each for itself and both must be alike; what must be equal must be.

    Args:
        rows: what is compared of each row, in order.
        folder: with the embeddings.
        least: cosine from which two texts say the same.
    """
    embeddings, parts, exact = Embeddings(folder, "prepare.dedupe.embeddings"), [], list[int]()
    for batch in _batches(rows):
        texts = [text for row in batch for text in (f"{row.asked}", row.answered)]
        parts.append(embeddings.of(texts).astype(np.float16).reshape(len(batch), 2, -1))
        exact += [row.exact for row in batch]
    clusters = Clusters(len(exact))
    if parts:
        _join(np.concatenate(parts), np.array(exact, np.uint64), least, clusters)
    return clusters.roots()


def _batches(rows: Iterable[Compared]) -> Iterator[list[Compared]]:
    source = iter(rows)
    while batch := list(islice(source, _BATCH_ROWS)):
        yield batch


def _join(vectors: np.ndarray, exact: np.ndarray, least: float, clusters: Clusters) -> None:
    """Compare all rows of one kind and label with each other, block by block."""
    order = np.lexsort((np.arange(len(exact)), exact))
    edges = np.flatnonzero(np.diff(exact[order])) + 1
    for members in np.split(order, edges):
        for start in range(0, len(members), _BATCH_ROWS):
            block = members[start : start + _BATCH_ROWS]
            for other in range(start, len(members), _BATCH_ROWS):
                against = members[other : other + _BATCH_ROWS]
                alike = _alike(vectors[block], vectors[against], least)
                if other == start:
                    alike &= np.tri(len(block), len(against), -1, bool).T
                one, two = np.nonzero(alike)
                clusters.join(np.stack([block[one], against[two]], 1))


def _alike(left: np.ndarray, right: np.ndarray, least: float) -> np.ndarray:
    """Tell which rows say the same in each part that either has, bool [left, right]."""
    result = np.ones((len(left), len(right)), bool)
    for part in range(2):
        one, two = left[:, part].astype(np.float32), right[:, part].astype(np.float32)
        empty = ~np.any(one, axis=1), ~np.any(two, axis=1)
        result &= (one @ two.T >= least) | np.logical_and.outer(*empty)
    return result & np.any(left, axis=(1, 2)).reshape(-1, 1)
