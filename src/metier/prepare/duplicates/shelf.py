"""What is compared of every row, folded, on disk: memory stays flat however many rows there are."""

from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass
from hashlib import blake2b
from io import RawIOBase
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np

from metier.prepare.duplicates.words import Texts, fold
from metier.text.digits import ranges

MOST_CHARACTERS = 1 << 20
"""A longer part of a row is compared by its first million characters."""

_ROW = np.dtype([(name, "<i8") for name in ("begin", "answer", "end")] + [("exact", "<u8"), ("whole", "<u8")])
_FOLDED = np.dtype(
    [(name, "<i4") for name in ("setting", "asked", "answered")]
    + [(name, "<u8") for name in ("exact", "whole", "setting_hash")]
)
"""How long the folded parts of a row are, in bytes (the last with its padding); what must be equal; hashes."""

_CHUNK_CHARACTERS = 1 << 18


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shelf:
    """Rows side by side in one file, which is read where it is looked at: mapped, all of it would count as memory.

    `rows` structured [N]: where what is compared of a row begins, where its answer does, where it ends (padding
    included), what must be equal and a hash of the whole.
    """

    path: Path
    rows: np.ndarray

    def __len__(self) -> int:
        """Return the number of rows N."""
        return len(self.rows)

    def sizes(self) -> np.ndarray:
        """Return the bytes of each row, int64 [N]."""
        return self.rows["end"] - self.rows["begin"]

    def batches(self, most_bytes: int) -> Iterator[np.ndarray]:
        """Yield row numbers in order, int64, for about `most_bytes` at a time; at least one row."""
        batch = np.cumsum(self.sizes()) // most_bytes
        edges = np.flatnonzero(np.diff(batch)) + 1
        for part in np.split(np.arange(len(self)), edges):
            if len(part):
                yield part

    def take(self, chosen: np.ndarray) -> Texts:
        """Copy some rows, int64 [rows], in their order; they have two parts, asked and answered."""
        rows = self.rows[chosen]
        begins, sizes = rows["begin"], rows["end"] - rows["begin"]
        places = np.concatenate([[0], np.cumsum(sizes)])
        with self.path.open("rb", buffering=0) as stream:
            if places[-1] * 2 > (spread := int(rows["end"].max(initial=0) - begins.min(initial=0))):
                content = np.frombuffer(_read(stream, int(begins.min(initial=0)), spread), np.uint8)
                content = content[ranges(begins - begins.min(initial=0), sizes)]
            else:
                parts = (_read(stream, *each) for each in zip(begins.tolist(), sizes.tolist(), strict=True))
                content = np.frombuffer(b"".join(parts), np.uint8)
        return Texts(content, np.stack([places[:-1], places[:-1] + rows["answer"] - begins], 1))


def _read(stream: RawIOBase, begin: int, size: int) -> bytes:
    stream.seek(begin)
    return stream.read(size) or b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelves:
    """The folded texts of all rows of a spool on disk; what of them is compared depends on which rows are looked at."""

    texts: Path
    table: Path

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.table.stat().st_size // _FOLDED.itemsize

    def said(self, numbers: np.ndarray) -> Shelf:
        """Return what some rows, int64 [N], ask and answer, without their settings."""
        return self._shelf(numbers, settings=False)

    def compared(self, numbers: np.ndarray) -> Shelf:
        """Return what is compared of some rows, int64 [N]: a setting counts when no other of these rows has it."""
        return self._shelf(numbers, settings=True)

    def _shelf(self, numbers: np.ndarray, *, settings: bool) -> Shelf:
        folded = np.fromfile(self.table, _FOLDED)
        ends = np.cumsum(folded["setting"].astype(np.int64) + folded["asked"] + folded["answered"])[numbers]
        folded = folded[numbers]
        rows = np.empty(len(folded), _ROW)
        rows["exact"], rows["whole"], rows["end"] = folded["exact"], folded["whole"], ends
        rows["answer"] = ends - folded["answered"]
        rows["begin"] = rows["answer"] - folded["asked"]
        if settings:
            _add_settings(rows, folded)
        return Shelf(path=self.texts, rows=rows)


def _add_settings(rows: np.ndarray, folded: np.ndarray) -> None:
    """Let rows begin with their setting where no other row has the same one."""
    hashes = folded["setting_hash"]
    _, places, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    own = counts[places] == 1
    rows["begin"] -= np.where(own, folded["setting"], 0)
    rows["whole"] ^= np.where(own, hashes, np.uint64(0))


@dataclass(slots=True)
class Shelving:
    """Shelves while rows come in: the files `<path>` and `<path>.table`; a context manager."""

    path: Path
    _texts: BinaryIO | Any = None
    _table: BinaryIO | Any = None

    def __enter__(self) -> Self:
        """Open the files."""
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
    texts = fold([tuple(part[:MOST_CHARACTERS] for part in row[:3]) for row in rows])
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
    table["whole"] = [
        _hash(content[ask:end], answer - ask)
        for ask, answer, end in zip(asks.tolist(), answers.tolist(), ends.tolist(), strict=True)
    ]
    table["setting_hash"] = [
        _hash(content[begin:ask]) if ask > begin else 0
        for begin, ask in zip(begins.tolist(), asks.tolist(), strict=True)
    ]
    return Sheaf(content, table)


def _hash(content: bytes, salt: int = 0) -> int:
    return int.from_bytes(blake2b(content, digest_size=8, salt=b"%d" % salt).digest(), "little")
