"""Finds training rows that share a run of words with a held-out text, and says which."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metier.prepare.contamination.settings import ContaminationSettings
from metier.prepare.duplicates.compared import compared
from metier.prepare.duplicates.words import Words, fold, runs_of, words_of
from metier.prepare.reading.find import find as find_files
from metier.prepare.reading.records import records
from metier.prepare.reading.settings import ReadSettings
from metier.prepare.spool import Spool

_CHUNK_ROWS = 500
_MOST_CHARACTERS = 1 << 20
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
    texts = _texts(spool, test if settings.test else test[:0], settings, folder)
    held = _held(texts, settings.words)
    if not len(held.hashes):
        return []
    found = [np.empty((0, 2), np.int64)]
    rows = (compared(row) for row in spool.rows(train))
    place = 0
    while chunk := list(islice(rows, _CHUNK_ROWS)):
        words = words_of(fold([(row.asked[:_MOST_CHARACTERS], row.answered[:_MOST_CHARACTERS]) for row in chunk]))
        hashes, owners = _keys(words, settings.words, 2 * len(chunk))
        places = np.minimum(np.searchsorted(held.hashes, hashes), len(held.hashes) - 1)
        same = held.hashes[places] == hashes
        found.append(np.unique(np.stack([places[same], owners[same] // 2 + place], 1), axis=0))
        place += len(chunk)
    return list(_leaks(np.concatenate(found), held, train))


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


def _held(texts: Iterable[tuple[str, str, bool]], length: int) -> _Held:
    hashes, owners, sources = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], list[tuple[str, bool]]()
    stream = iter(texts)
    while chunk := list(islice(stream, _CHUNK_ROWS)):
        words = words_of(fold([(text[:_MOST_CHARACTERS],) for text, _, _ in chunk]))
        found, parts = _keys(words, length, len(chunk))
        hashes.append(found)
        owners.append(parts + len(sources))
        sources += [(source, benchmark) for _, source, benchmark in chunk]
    kept, firsts = np.unique(np.concatenate(hashes), return_index=True)
    return _Held(kept, np.concatenate(owners)[firsts], sources)


def _texts(
    spool: Spool, test: np.ndarray, settings: ContaminationSettings, folder: Path
) -> Iterator[tuple[str, str, bool]]:
    """Yield the texts that must not leak: each with its source and whether it is a benchmark's."""
    for row in spool.rows(test):
        parts = compared(row)
        for text in (parts.asked, parts.answered):
            yield text, row.source, False
    for name in settings.against:
        for file in find_files(name, "test", folder, ReadSettings()):
            for record in records(file, "auto", ReadSettings(), lambda _: None):
                for text in _strings(record.value):
                    yield text, f"{file.name}:{record.line}", True


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
