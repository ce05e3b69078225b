"""What is compared of every row, folded, on disk: memory stays flat however many rows there are."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metier.prepare.duplicates.words import Texts, fold

MOST_CHARACTERS = 1 << 20
"""A longer part of a row is compared by its first million characters."""

_ROW = np.dtype([(name, "<i8") for name in ("begin", "answer", "end")] + [("exact", "<u8"), ("whole", "<u8")])
_CHUNK_CHARACTERS = 1 << 18


class Compared(NamedTuple):
    """What is compared of a row: its setting (system prompt), what it asks and what it answers.

    `exact` is a hash of what must be equal (kind and label). A setting that other rows have too is not compared.
    """

    setting: str
    asked: str
    answered: str
    exact: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shelf:
    """Rows side by side in one memory-mapped file.

    `content` uint8 [B]; `rows` structured [N]: where what is compared of a row begins, where its answer does, where it
    ends (padding included), what must be equal and a hash of the whole.
    """

    content: np.ndarray
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
        begins, ends = rows["begin"], rows["end"]
        places = np.concatenate([[0], np.cumsum(ends - begins)])
        buffer = np.empty(places[-1], np.uint8)
        for place, begin, end in zip(places.tolist(), begins.tolist(), ends.tolist(), strict=False):
            buffer[place : place + end - begin] = self.content[begin:end]
        return Texts(buffer, np.stack([places[:-1], places[:-1] + rows["answer"] - begins], 1))


def fill(rows: Iterable[Compared], path: Path) -> Shelf:
    """Write rows to a file and map it.

    Args:
        rows: all rows, in order.
        path: a file of the caller's, who deletes it.
    """
    tables, settings, place = [np.empty(0, _ROW)], [np.empty((0, 2), np.uint64)], 0
    with path.open("wb") as out:
        for chunk in _chunks(rows):
            texts = fold([tuple(part[:MOST_CHARACTERS] for part in row[:3]) for row in chunk])
            out.write(texts.buffer.data)
            table, setting = _table(texts, [row.exact for row in chunk])
            for name in ("begin", "answer", "end"):
                table[name] += place
            tables.append(table)
            settings.append(setting)
            place += len(texts.buffer)
    content = np.memmap(path, np.uint8, "r").view(np.ndarray) if place else np.empty(0, np.uint8)
    return Shelf(content=content, rows=_without_shared(np.concatenate(tables), np.concatenate(settings)))


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


def _table(texts: Texts, exact: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the table of some rows, and for each the length and the hash of its setting, uint64 [rows, 2]."""
    content, table = texts.buffer.tobytes(), np.empty(len(exact), _ROW)
    begins, asks, answers = texts.starts.T
    table["begin"], table["answer"], table["exact"] = begins, answers, exact
    table["end"] = np.append(begins[1:], len(content))
    table["whole"] = [
        _hash(content[ask:end], answer - ask)
        for ask, answer, end in zip(asks.tolist(), answers.tolist(), table["end"].tolist(), strict=True)
    ]
    hashes = [
        _hash(content[begin:ask]) if ask > begin else 0
        for begin, ask in zip(begins.tolist(), asks.tolist(), strict=True)
    ]
    return table, np.stack([(asks - begins).astype(np.uint64), np.array(hashes, np.uint64)], 1)


def _hash(content: bytes, salt: int = 0) -> int:
    return int.from_bytes(blake2b(content, digest_size=8, salt=b"%d" % salt).digest(), "little")


def _without_shared(table: np.ndarray, settings: np.ndarray) -> np.ndarray:
    """Leave settings out of what is compared where another row has the same one."""
    lengths, hashes = settings.T
    _, places, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    shared = counts[places] > 1
    table["begin"] += np.where(shared, lengths, 0).astype(np.int64)
    table["whole"] ^= np.where(shared, 0, hashes)
    return table
