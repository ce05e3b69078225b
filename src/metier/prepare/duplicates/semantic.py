"""Semantic duplicates: rows whose static sentence embeddings point in nearly the same direction."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from metier.core.errors import DataError
from metier.prepare.duplicates.clusters import Clusters
from metier.prepare.duplicates.shelf import Compared
from metier.text.tokenizer import engine_of

FILES = ("tokenizer.json", "model.safetensors")
_BATCH_ROWS = 1024
_MOST_CHARACTERS = 4000
"""Of a longer text the beginning is embedded: a mean over more words says less and less."""


class Embeddings:
    """Static embeddings of tokens; a text is the mean of its tokens, of length 1.

    Args:
        folder: with `tokenizer.json` and `model.safetensors`, as model2vec writes them.

    Raises:
        DataError: the table is missing or not what it should be.
        ModelError: the tokenizer is.
    """

    def __init__(self, folder: Path) -> None:
        for name in FILES:
            if not (folder / name).is_file():
                raise _unusable(folder, f"no {name}")
        self._tokenizer = engine_of(folder / "tokenizer.json")
        try:
            tensors = load_file(folder / "model.safetensors")
        except (OSError, SafetensorError) as error:
            raise _unusable(folder, str(error)) from error
        table = tensors.get("embeddings")
        if table is None or table.ndim != 2:
            raise _unusable(folder, "no table called 'embeddings' in model.safetensors")
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._table = table.astype(np.float32)
        if "weights" in tensors:
            self._table *= tensors["weights"].astype(np.float32).reshape(-1, 1)

    def of(self, texts: list[str]) -> np.ndarray:
        """Return float32 [texts, dimensions], each of length 1 (0 for a text without a known token)."""
        encodings = self._tokenizer.encode_batch_fast(
            [text[:_MOST_CHARACTERS] for text in texts], add_special_tokens=False
        )
        ids = [np.array(encoding.ids, np.int64) for encoding in encodings]
        lengths = np.array([len(entry) for entry in ids])
        found = np.zeros((len(texts), self._table.shape[1]), np.float32)
        filled = np.flatnonzero(lengths)
        if len(filled):
            vectors = self._table[np.concatenate(ids)]
            starts = np.cumsum(lengths[filled]) - lengths[filled]
            found[filled] = np.add.reduceat(vectors, starts, axis=0)
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def _unusable(folder: Path, why: str) -> DataError:
    wanted = "a folder with model.safetensors and tokenizer.json of static embeddings (model2vec)"
    return DataError(f"prepare.dedupe.embeddings: {folder}: {why}", wanted)


def semantic(rows: Iterable[Compared], folder: Path, least: float) -> np.ndarray:
    """Return the first row of every row's cluster of rows that say the same, int32 [rows].

    Question and answer are embedded each for itself and both must be alike; what must be equal must be.

    Args:
        rows: what is compared of each row, in order.
        folder: with the embeddings.
        least: cosine from which two texts say the same.
    """
    embeddings, parts, exact = Embeddings(folder), [], list[int]()
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
