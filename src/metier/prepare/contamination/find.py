"""Finds training rows that share a run of words with a held-out text, and says which."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metier.prepare.contamination.settings import ContaminationSettings
from metier.prepare.duplicates.shelf import MOST_CHARACTERS
from metier.prepare.duplicates.words import Words, fold, runs_of, words_of
from metier.prepare.reading.find import find as find_files
from metier.prepare.reading.records import records
from metier.prepare.reading.settings import ReadSettings
from metier.prepare.spool import Spool

_CHUNK_TEXTS = 500
_BATCH_BYTES = 1 << 18
_BITS_EACH = 16
_MOST_ROWS = 10
"""A run of words that stands in more training rows is a turn of phrase or a template, not a leak."""

_FEWEST_WORDS = 6
"""A shorter question is too common to be a leak."""


class Leak(NamedTuple):
    """A training row and the held-out text that it shares words with; `benchmark` tells whose that text is."""

    number: int
    source: str
    benchmark: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """Hashes of runs of words and of whole short questions, sorted, uint64 [R], and whose text each is of."""

    hashes: np.ndarray
    owners: np.ndarray
    sources: Sequence[tuple[str, bool]]


def benchmark_digests(settings: ContaminationSettings, folder: Path) -> list[str]:
    """Return the hashes of the named files: what comes out is a function of them, too."""
    return [file.sha256 for name in settings.against for file in find_files(name, "test", folder, ReadSettings())]


def find(
    spool: Spool, train: np.ndarray, test: np.ndarray, settings: ContaminationSettings, folder: Path
) -> list[Leak]:
    """Compare training rows with test rows and with benchmarks.

    Args:
        spool: all rows.
        train: int64, the numbers of the training rows.
        test: int64, those of the test rows.
        settings: what is compared.
        folder: where relative names of the settings start from.

    Raises:
        DataError: a named file cannot be read.
    """
    held = _held(spool, test if settings.test else test[:0], settings, folder)
    if not len(held.hashes):
        return []
    found, shelf, sieve = [np.empty((0, 2), np.int64)], spool.shelves.said(train), _Sieve(held.hashes)
    for rows in shelf.batches(_BATCH_BYTES):
        hashes, owners = _keys(words_of(shelf.take(rows)), settings.words, 2 * len(rows))
        places, hits = sieve.places(hashes)
        found.append(np.unique(np.stack([places, owners[hits] // 2 + rows[0]], 1), axis=0))
    return list(_leaks(np.concatenate(found), held, train))


class _Sieve:
    """Finds hashes among the held ones: nearly all others fall through a table of bits, which is small and near.

    Args:
        held: sorted, uint64 [R], R > 0.
    """

    def __init__(self, held: np.ndarray) -> None:
        self._held = held
        self._shift = np.uint64(64 - max(10, (_BITS_EACH * len(held)).bit_length()))
        bits = np.zeros(1 << (64 - int(self._shift)), bool)
        bits[(held >> self._shift).astype(np.int64)] = True
        self._bits = np.packbits(bits, bitorder="little")

    def places(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the hashes that are held stand among these, and which ones they are; int64 both."""
        spots = (hashes >> self._shift).astype(np.int64)
        likely = np.flatnonzero((self._bits[spots >> 3] >> (spots & 7).astype(np.uint8)) & 1)
        places = np.minimum(np.searchsorted(self._held, hashes[likely]), len(self._held) - 1)
        same = self._held[places] == hashes[likely]
        return places[same], likely[same]


def _leaks(found: np.ndarray, held: _Held, train: np.ndarray) -> Iterator[Leak]:
    """Yield one leak a training row; `found` int64 [F, 2] are places among the held runs and among training rows."""
    common = np.bincount(found[:, 0], minlength=len(held.hashes)) > _MOST_ROWS
    found = found[~common[found[:, 0]]]
    rows, firsts = np.unique(found[:, 1], return_index=True)
    for row, first in zip(rows.tolist(), firsts.tolist(), strict=True):
        source, benchmark = held.sources[held.owners[found[first, 0]]]
        yield Leak(int(train[row]), source, benchmark)


def _keys(words: Words, length: int, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the hashes of all runs, and of whole shorter parts, with the part of each."""
    runs = runs_of(words.hashes, words.owners, length)
    counts = np.bincount(words.owners, minlength=parts)
    begins = np.searchsorted(words.owners, np.arange(parts))
    kept = runs != 0
    hashes, owners = [runs[kept]], [words.owners[kept]]
    for size in range(_FEWEST_WORDS, length):
        whole = np.flatnonzero(counts == size)
        if len(whole):
            hashes.append(runs_of(words.hashes, words.owners, size)[begins[whole]] ^ np.uint64(size))
            owners.append(whole)
    return np.concatenate(hashes), np.concatenate(owners)


def _held(spool: Spool, test: np.ndarray, settings: ContaminationSettings, folder: Path) -> _Held:
    hashes, owners, sources = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], list[tuple[str, bool]]()
    shelf = spool.shelves.said(test)
    for rows in shelf.batches(_BATCH_BYTES) if len(test) else ():
        found, parts = _keys(words_of(shelf.take(rows)), settings.words, 2 * len(rows))
        hashes.append(found)
        owners.append(parts // 2 + len(sources))
        sources += [(spool.places.source(int(number)), False) for number in test[rows]]
    stream = _benchmarks(settings, folder)
    while chunk := list(islice(stream, _CHUNK_TEXTS)):
        found, parts = _keys(
            words_of(fold([(text[:MOST_CHARACTERS],) for text, _ in chunk])), settings.words, len(chunk)
        )
        hashes.append(found)
        owners.append(parts + len(sources))
        sources += [(source, True) for _, source in chunk]
    kept, firsts = np.unique(np.concatenate(hashes), return_index=True)
    return _Held(kept, np.concatenate(owners)[firsts], sources)


def _benchmarks(settings: ContaminationSettings, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the texts of the files that must not leak, each with its source."""
    for name in settings.against:
        for file in find_files(name, "test", folder, ReadSettings()):
            for record in records(file, "auto", ReadSettings(), lambda _: None):
                for text in _strings(record.value):
                    yield text, f"{file.name}:{record.line}"


def _strings(value: Any) -> Iterator[str]:
    """Yield every text inside a record; a column's name too when it is one (a table without a header)."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name.count(" ") >= _FEWEST_WORDS:
                yield name
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
