"""What is compared of every row, folded, on disk: memory stays flat however many rows there are."""

import os
import weakref
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np

from metier.prepare.duplicates.words import Texts, fold, mixed
from metier.prepare.ledger import NEAR, Pages, Records, unnamed
from metier.prepare.memory import keep_freed

MOST_CHARACTERS = 1 << 20
"""A longer part of a row is compared by its first million characters."""

_ROW = np.dtype([(name, "<i8") for name in ("begin", "answer", "end")] + [("exact", "<u8"), ("whole", "<u8")])
_FOLDED = np.dtype(
    [(name, "<i4") for name in ("setting", "asked", "answered")]
    + [(name, "<u8") for name in ("exact", "whole", "setting_hash")]
)
"""How long the folded parts of a row are, in bytes (the last with its padding); what must be equal; hashes."""

_CHUNK_CHARACTERS = 1 << 18
_TOGETHER = 1 << 15


class Compared(NamedTuple):
    """What is compared of a row: its setting (system prompt), what it asks and what it answers.

    `exact` is a hash of what must be equal (kind and label). A setting that other rows have too is not compared.
    """

    setting: str
    asked: str
    answered: str
    exact: int


class Sheaf(NamedTuple):
    """What is compared of some rows, folded: their bytes one after the other, and a table of `_FOLDED`, one entry each.

    A function of each row alone, so it can be made wherever the row is at hand.
    """

    content: bytes
    table: np.ndarray


class Shelf:
    """Rows side by side in one file, which is read where it is looked at; its files are closed with it.

    `rows` structured [N]: where what is compared of a row begins, where its answer does, where it ends (padding
    included), what must be equal and a hash of the whole; mapped in `pages`, to be looked at in order.

    Args:
        texts: the file.
        parts: what stands in `rows`, part by part; kept on disk.
    """

    def __init__(self, texts: Path, parts: Iterator[np.ndarray]) -> None:
        self.pages, self._table = Pages(), unnamed(self, texts.parent)
        self._texts = texts.open("rb", buffering=0)
        weakref.finalize(self, self._texts.close)
        for rows in parts:
            self._table.write(rows.tobytes())
        self.rows = self.pages.mapped(self._table, _ROW)

    def __len__(self) -> int:
        """Return the number of rows N."""
        return len(self.rows)

    def of(self, numbers: np.ndarray) -> np.ndarray:
        """Return what `rows` says of some rows here and there, the same shape."""
        return Records(self._table, _ROW).of(numbers)

    def batches(self, most_bytes: int) -> Iterator[np.ndarray]:
        """Yield row numbers in order, int64, for about `most_bytes` at a time; at least one row."""
        for start in range(0, len(self), _TOGETHER):
            numbers = np.arange(start, min(start + _TOGETHER, len(self)))
            rows = self.rows[numbers]
            batch = np.cumsum(rows["end"] - rows["begin"]) // most_bytes
            self.pages.let_go()
            yield from np.split(numbers, np.flatnonzero(np.diff(batch)) + 1)

    def take(self, chosen: np.ndarray) -> Texts:
        """Copy some rows, int64 [rows], in their order; they have two parts, asked and answered."""
        rows = self.of(chosen)
        begins, ends = rows["begin"], rows["end"]
        places = np.append(0, np.cumsum(ends - begins))
        starts = np.stack([places[:-1], places[:-1] + rows["answer"] - begins], 1)
        return Texts(np.frombuffer(b"".join(self._pieces(begins, ends)), np.uint8), starts)

    def _pieces(self, begins: np.ndarray, ends: np.ndarray) -> Iterator[bytes | memoryview]:
        """Yield what stands from each of `begins` to its end, in order, several together where nothing is between."""
        between = begins[1:] - ends[:-1]
        spans = [0, *(np.flatnonzero((between < 0) | (between > NEAR)) + 1).tolist(), len(begins)]
        lasting = np.concatenate([[0], np.cumsum(between != 0)])
        for first, behind in pairwise(spans):
            if first == behind:
                continue
            start = int(begins[first])
            content = os.pread(self._texts.fileno(), int(ends[behind - 1]) - start, start)
            if lasting[first] == lasting[behind - 1]:
                yield content
                continue
            seen = memoryview(content)
            for begin, end in zip(begins[first:behind].tolist(), ends[first:behind].tolist(), strict=True):
                yield seen[begin - start : end - start]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelves:
    """The folded texts of all rows of a spool on disk; what of them is compared depends on which rows are looked at."""

    texts: Path
    table: Path

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.table.stat().st_size // _FOLDED.itemsize

    def said(self, numbers: np.ndarray) -> Shelf:
        """Return what some rows, int64 [N], ascending, ask and answer, without their settings."""
        return self._shelf(numbers, np.empty(0, np.uint64))

    def compared(self, numbers: np.ndarray) -> Shelf:
        """Return what is compared of some rows, int64 [N], ascending: a setting counts when no other of them has it."""
        hashes = [folded["setting_hash"][folded["setting"] > 0] for folded, _ in self._folded(numbers)]
        known, counts = np.unique(np.concatenate([np.empty(0, np.uint64), *hashes]), return_counts=True)
        return self._shelf(numbers, known[counts == 1])

    def _shelf(self, numbers: np.ndarray, lone: np.ndarray) -> Shelf:
        """Put the rows side by side; those with one of the settings whose hashes are `lone` begin with it."""

        def parts() -> Iterator[np.ndarray]:
            for folded, ends in self._folded(numbers):
                rows = np.empty(len(folded), _ROW)
                rows["exact"], rows["whole"], rows["end"] = folded["exact"], folded["whole"], ends
                rows["answer"] = ends - folded["answered"]
                own = _among(lone, folded["setting_hash"])
                rows["begin"] = rows["answer"] - folded["asked"] - np.where(own, folded["setting"], 0)
                rows["whole"] ^= np.where(own, folded["setting_hash"], np.uint64(0))
                yield rows

        return Shelf(self.texts, parts())

    def _folded(self, numbers: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield what the table says of some rows, part by part, and where each ends in the file of texts."""
        end, first = 0, 0
        with self.table.open("rb") as stream:
            while content := stream.read(_TOGETHER * _FOLDED.itemsize):
                folded = np.frombuffer(content, _FOLDED)
                ends = end + np.cumsum(folded["setting"].astype(np.int64) + folded["asked"] + folded["answered"])
                inside = numbers[slice(*np.searchsorted(numbers, (first, first + len(folded))))] - first
                yield folded[inside], ends[inside]
                end, first = int(ends[-1]), first + len(folded)


@dataclass(slots=True)
class Shelving:
    """Shelves while rows come in: the files `<path>` and `<path>.table`; a context manager."""

    path: Path
    _texts: BinaryIO | Any = None
    _table: BinaryIO | Any = None

    def __enter__(self) -> Self:
        """Open the files."""
        keep_freed()
        self._texts, self._table = self.path.open("wb"), _beside(self.path).open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        self._texts.close()
        self._table.close()

    def add(self, sheaf: Sheaf, kept: Items[int]) -> None:
        """Write those rows of a sheaf that have these numbers, ascending."""
        content, table = sheaf
        if len(kept) < len(table):
            ends = np.cumsum(table["setting"].astype(np.int64) + table["asked"] + table["answered"])
            begins = np.concatenate([[0], ends[:-1]])
            content = b"".join([content[begins[number] : ends[number]] for number in kept])
            table = table[list(kept)]
        self._texts.write(content)
        self._table.write(table.tobytes())

    def shelves(self) -> Shelves:
        """Return what has been written; nothing may be added afterwards."""
        self._texts.flush()
        self._table.flush()
        return Shelves(texts=self.path, table=_beside(self.path))


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.table")


def fill(rows: Iterable[Compared], path: Path) -> Shelves:
    """Write rows to files, which the caller deletes."""
    with Shelving(path) as shelving:
        for chunk in _chunks(rows):
            sheaf = folded(chunk)
            shelving.add(sheaf, range(len(sheaf.table)))
        return shelving.shelves()


def folded(rows: Items[Compared]) -> Sheaf:
    """Fold some rows, each by itself."""
    if not rows:
        return Sheaf(b"", np.empty(0, _FOLDED))
    texts = fold(
        [
            (setting[:MOST_CHARACTERS], asked[:MOST_CHARACTERS], answered[:MOST_CHARACTERS])
            for setting, asked, answered, _ in rows
        ]
    )
    return _sheaf(texts, [row.exact for row in rows])


def _chunks(rows: Iterable[Compared]) -> Iterator[list[Compared]]:
    chunk: list[Compared] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += len(row.setting) + len(row.asked) + len(row.answered) + 1
        if size > _CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _sheaf(texts: Texts, exact: list[int]) -> Sheaf:
    content, table = texts.buffer.tobytes(), np.empty(len(exact), _FOLDED)
    begins, asks, answers = texts.starts.T
    ends = np.append(begins[1:], len(content))
    table["setting"], table["asked"], table["answered"] = asks - begins, answers - asks, ends - answers
    table["exact"] = exact
    hashes = [_hash(content[ask:end]) for ask, end in zip(asks.tolist(), ends.tolist(), strict=True)]
    table["whole"] = np.frombuffer(b"".join(hashes), "<u8") ^ mixed((answers - asks).view(np.uint64))
    table["setting_hash"] = 0
    for number in np.flatnonzero(asks > begins).tolist():
        table["setting_hash"][number] = int.from_bytes(_hash(content[begins[number] : asks[number]]), "little")
    return Sheaf(content, table)


def _among(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Tell which values are among ordered ones, of which there may be many more; nothing is sorted."""
    if not len(ordered):
        return np.zeros(len(values), bool)
    return ordered[np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)] == values


def _hash(content: bytes) -> bytes:
    return blake2b(content, digest_size=8).digest()
