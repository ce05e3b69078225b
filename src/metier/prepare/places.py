"""What later steps need to know of every row, as columns on disk: some sixty bytes a row, whatever the rows hold."""

import hashlib
from collections.abc import Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np

from metier.core.types import ChatRow, JudgedRow, LabelledRow, PreferenceRow, Row, TaskRow, TextRow
from metier.prepare.candidate import Role
from metier.prepare.ledger import TOGETHER, Ledger, Pages
from metier.text.rows import input_text, label_of

ROLES: tuple[Role, ...] = get_args(Role)
ID_BYTES = 12


class Place(NamedTuple):
    """What splitting needs to know of a row. `asks` is a hash of what the row asks, `group` one of its group."""

    id: str
    source: str
    role: Role
    label: str | None
    group: str | None
    asks: str
    synthetic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Places(Items[Place]):
    """N rows in the order of the spool.

    `ids` uint8 [N, 12] (the id's hexadecimal characters as bytes) and `copies` int32 [N] (k for an id that ends in
    `-k`, 0 for none). `files` int32 [N] into `file_names` and `lines` int64 [N] make the source. `roles` int8 [N] into
    `ROLES`. `labels`, `slices` int32 [N] into `label_names`, `slice_names`, -1 for none. `groups` uint64 [N] is a hash
    of the group, 0 for none; `asks` uint64 [N] one of what the row asks. `times` float64 [N] is seconds, NaN where
    unknown; `synthetic` bool [N]; `characters` int32 [N] is how long what people and models wrote in the row is.
    `pages` is where these columns are mapped.
    """

    ids: np.ndarray
    copies: np.ndarray
    files: np.ndarray
    lines: np.ndarray
    roles: np.ndarray
    labels: np.ndarray
    slices: np.ndarray
    groups: np.ndarray
    asks: np.ndarray
    times: np.ndarray
    synthetic: np.ndarray
    characters: np.ndarray
    file_names: tuple[str, ...]
    label_names: tuple[str, ...]
    slice_names: tuple[str, ...]
    pages: Pages = field(default_factory=Pages)

    def __len__(self) -> int:
        """Return the number of rows N."""
        return len(self.lines)

    def __getitem__(self, number: int) -> Place:  # type: ignore[override]
        """Return one row's place; make few of them, the columns are what is fast."""
        label, group = self.labels[number], self.groups[number]
        return Place(
            self.id(number),
            self.source(number),
            ROLES[self.roles[number]],
            self.label_names[label] if label >= 0 else None,
            f"{group:016x}" if group else None,
            f"{self.asks[number]:016x}",
            bool(self.synthetic[number]),
        )

    def __iter__(self) -> Iterator[Place]:
        """Yield every place in order."""
        return (self[number] for number in range(len(self)))

    def id(self, number: int) -> str:
        """Return a row's id."""
        copy = self.copies[number]
        return self.ids[number].tobytes().hex() + (f"-{copy}" if copy else "")

    def source(self, number: int) -> str:
        """Return a row's `file:line`."""
        line, name = self.lines[number], self.file_names[self.files[number]]
        return f"{name}:{line}" if line >= 0 else name


def hashed(text: str) -> int:
    """Return 64 bits of a text's hash, never 0: among ten million texts the chance of two alike is below 1e-5."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") or 1


class Entry(NamedTuple):
    """What the columns take of a row: `group` and `asks` as hashes, 0 for no group and for a row that asks nothing."""

    id: str
    source: str
    label: str | None
    slice: str | None
    group: int
    asks: int
    time: float
    synthetic: bool
    characters: int


def entry_of(row: Row) -> Entry:
    """Return what the columns take of a row; a function of the row alone."""
    asked = input_text(row)
    return Entry(
        row.id, row.source, label_of(row), row.slice, 0 if row.group is None else hashed(row.group),
        0 if asked is row.id else hashed(asked), float("nan") if row.time is None else row.time, row.synthetic,
        min(_characters(row), 2**31 - 1),
    )  # fmt: skip


@dataclass(slots=True)
class _Names:
    """Texts and the numbers that stand for them."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, name: str | None) -> int:
        return -1 if name is None else self.numbers.setdefault(name, len(self.numbers))

    def names(self) -> tuple[str, ...]:
        return tuple(self.numbers)


class Growing:
    """The columns while rows come in.

    Args:
        folder: for their files.
    """

    def __init__(self, folder: Path) -> None:
        self._ledger = Ledger(dict(_CODES), folder)
        self._files, self._labels, self._slices = _Names(), _Names(), _Names()

    def add(self, entry: Entry, role: Role) -> None:
        """Add one row; its id is 24 hexadecimal characters, perhaps with `-k` behind them."""
        content, _, copy = entry.id.partition("-")
        packed = bytes.fromhex(content)
        assert len(packed) == ID_BYTES
        waiting = self._ledger.waiting
        waiting["ids"].frombytes(packed)
        name, line = _parted(entry.source)
        for column, value in (
            ("copies", int(copy or 0)),
            ("files", self._files.number(name)),
            ("lines", line),
            ("roles", ROLES.index(role)),
            ("labels", self._labels.number(entry.label)),
            ("slices", self._slices.number(entry.slice)),
            ("groups", entry.group),
            ("asks", entry.asks or hashed(entry.id)),
            ("times", entry.time),
            ("synthetic", entry.synthetic),
            ("characters", entry.characters),
        ):
            waiting[column].append(value)
        if len(waiting["lines"]) >= TOGETHER:
            self._ledger.turn()

    def places(self) -> Places:
        """Return the columns; nothing may be added afterwards."""
        columns, pages = self._ledger.read()
        columns["synthetic"] = columns["synthetic"].view(bool)
        columns["ids"] = columns["ids"].reshape(-1, ID_BYTES)
        return Places(
            file_names=self._files.names(),
            label_names=self._labels.names(),
            slice_names=self._slices.names(),
            pages=pages,
            **columns,
        )


_CODES = (
    ("ids", "B"), ("copies", "i"), ("files", "i"), ("lines", "q"), ("roles", "b"), ("labels", "i"), ("slices", "i"),
    ("groups", "Q"), ("asks", "Q"), ("times", "d"), ("synthetic", "b"), ("characters", "i"),
)  # fmt: skip


def _parted(source: str) -> tuple[str, int]:
    name, colon, line = source.rpartition(":")
    return (name, int(line)) if colon and line.isascii() and line.isdigit() else (source, -1)


def _characters(row: Row) -> int:
    if isinstance(row, TextRow | LabelledRow):
        return len(row.text)
    if isinstance(row, ChatRow):
        return sum(len(turn.content) for turn in row.messages)
    if isinstance(row, JudgedRow):
        return sum(len(turn.content) for turn in (*row.prompt, *row.completion))
    if isinstance(row, TaskRow):
        return sum(len(turn.content) for turn in row.prompt)
    assert isinstance(row, PreferenceRow)
    return sum(len(turn.content) for turn in (*row.prompt, *row.chosen, *row.rejected))
