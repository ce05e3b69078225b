"""Finds training rows that share a run of words with a held-out text, and says which."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metier.prepare.contamination.meeting import Meeting
from metier.prepare.contamination.settings import ContaminationSettings
from metier.prepare.duplicates.shelf import MOST_CHARACTERS
from metier.prepare.duplicates.words import Words, fold, runs_of, words_of
from metier.prepare.reading.find import find as find_files
from metier.prepare.reading.records import records
from metier.prepare.reading.settings import ReadSettings
from metier.prepare.spool import Spool

_CHUNK_TEXTS = 500
_BATCH_BYTES = 1 << 18
_MOST_ROWS = 10
"""A run of words that stands in more training rows is a turn of phrase or a template, not a leak."""

_FEWEST_WORDS = 6
"""A shorter question is too common to be a leak."""


class Leak(NamedTuple):
    """A training row and the held-out text that it shares words with; `benchmark` tells whose that text is."""

    number: int
    source: str
    benchmark: bool


class _Texts(NamedTuple):
    """The hashes of some held-out texts, uint64 [K], which text each is of, int64 [K], and who says where that is."""

    hashes: np.ndarray
    owners: np.ndarray
    source: Callable[[int], str]
    benchmark: bool


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
    test = test if settings.test else test[:0]
    with Meeting(spool.path.parent, _MOST_ROWS) as meeting:
        for texts in _held(spool, test, settings, folder):
            meeting.hold(texts.hashes)
        if not meeting.held:
            return []
        shelf = spool.shelves.said(train)
        for rows in shelf.batches(_BATCH_BYTES):
            hashes, owners = _keys(words_of(shelf.take(rows)), settings.words, 2 * len(rows))
            meeting.pass_by(hashes, owners // 2 + rows[0])
        rows, wanted = meeting.met()
    sources = _sources(wanted, _held(spool, test, settings, folder)) if len(wanted) else {}
    return [Leak(int(train[row]), *sources[key]) for row, key in zip(rows.tolist(), wanted.tolist(), strict=True)]


def _sources(wanted: np.ndarray, held: Iterable[_Texts]) -> dict[int, tuple[str, bool]]:
    """Look for hashes in the held-out texts once more; return the first text that has each."""
    found: dict[int, tuple[str, bool]] = {}
    for texts in held:
        for place in np.flatnonzero(np.isin(texts.hashes, wanted)).tolist():
            found.setdefault(int(texts.hashes[place]), (texts.source(int(texts.owners[place])), texts.benchmark))
    return found


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


def _held(spool: Spool, test: np.ndarray, settings: ContaminationSettings, folder: Path) -> Iterator[_Texts]:
    """Yield the hashes of the texts that must not leak: of the test rows, then of the benchmarks."""
    shelf = spool.shelves.said(test)
    for rows in shelf.batches(_BATCH_BYTES) if len(test) else ():
        hashes, parts = _keys(words_of(shelf.take(rows)), settings.words, 2 * len(rows))
        yield _Texts(hashes, test[rows][parts // 2], spool.places.source, benchmark=False)
    stream = _benchmarks(settings, folder)
    while chunk := list(islice(stream, _CHUNK_TEXTS)):
        words = words_of(fold([(text[:MOST_CHARACTERS],) for text, _ in chunk]))
        yield _Texts(
            *_keys(words, settings.words, len(chunk)), [source for _, source in chunk].__getitem__, benchmark=True
        )


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
