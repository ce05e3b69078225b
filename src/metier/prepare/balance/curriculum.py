"""How hard rows are, by a stated rule, and the order that follows from it."""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from metier.core.errors import DataError
from metier.core.types import Row
from metier.prepare.balance.settings import CurriculumSettings
from metier.prepare.cleaning.texts import pieces
from metier.prepare.duplicates.words import Words, fold, words_of
from metier.prepare.spool import Spool

_BUCKET_BITS = 22
"""Words are counted by a part of their hash: 32 MiB whatever the language, and hardly any two in one place."""

_CHUNK = 2000


def ordered(spool: Spool, numbers: np.ndarray, settings: CurriculumSettings) -> np.ndarray:
    """Return the places of `numbers` in the order of the curriculum; rows equally hard stay as they were read.

    Args:
        spool: all rows.
        numbers: int64, ascending: the training rows.
        settings: by what, and from which end.

    Raises:
        DataError: by difficulty, and no row has one.
    """
    hard = difficulties(spool, numbers, settings)
    known = np.isfinite(hard)
    hard = np.where(known, hard if settings.first == "easy" else -hard, np.inf)
    return np.argsort(hard, kind="stable")


def difficulties(spool: Spool, numbers: np.ndarray, settings: CurriculumSettings) -> np.ndarray:
    """Return how hard each row is, float64 [rows]; NaN where that is not known."""
    if settings.by == "length":
        return spool.places.characters[numbers].astype(float)
    if settings.by == "rarity":
        return _rarity(spool, numbers)
    found = [row.difficulty for row in spool.rows(numbers.tolist())]
    if all(value is None for value in found):
        raise DataError(
            "prepare.balance.curriculum.by: difficulty, but no training row has a number in such a column",
            "a column of numbers", "name it as prepare.columns.difficulty, or go by length or rarity",
        )  # fmt: skip
    return np.array([np.nan if value is None else value for value in found], float)


def _rarity(spool: Spool, numbers: np.ndarray) -> np.ndarray:
    """Return −Σ ln p(word) over the words of each row, p being their shares among all words here.

    "Sentence rarity" of E. A. Platanios et al. 2019, "Competence-based Curriculum Learning for Neural Machine
    Translation".
    """
    counts = np.zeros(1 << _BUCKET_BITS, np.int64)
    for words in _chunks(spool, numbers):
        counts += np.bincount(_buckets(words), minlength=len(counts))
    costs = np.zeros(len(counts))
    costs[counts > 0] = -np.log(counts[counts > 0] / max(counts.sum(), 1))
    sizes = [min(_CHUNK, len(numbers) - start) for start in range(0, len(numbers), _CHUNK)]
    found = [
        np.bincount(words.owners, weights=costs[_buckets(words)], minlength=size)
        for words, size in zip(_chunks(spool, numbers), sizes, strict=True)
    ]
    return np.concatenate(found)


def _chunks(spool: Spool, numbers: np.ndarray) -> Iterator[Words]:
    rows = spool.rows(numbers.tolist())
    while texts := [(_text(row),) for row in islice(rows, _CHUNK)]:
        yield words_of(fold(texts))


def _text(row: Row) -> str:
    return "\n".join(piece.text for piece in pieces(row))


def _buckets(words: Words) -> np.ndarray:
    return (words.hashes >> np.uint64(64 - _BUCKET_BITS)).astype(np.int64)
