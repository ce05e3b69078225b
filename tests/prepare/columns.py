"""Rows for splitting, written as places and turned into the columns that the program works on."""

from collections.abc import Mapping, Sequence

import numpy as np

from metier.core.types import Dropped
from metier.prepare.division import NONE, SPLITS, Division
from metier.prepare.places import ROLES, Place, Places, hashed


def place(
    name: object, *, role="train", label: str | None = None, group: str | None = None, asks: str | None = None
) -> Place:
    """Return a place; rows ask different things unless told otherwise."""
    return Place(f"id {name}", f"t.jsonl:{name}", role, label, group, asks or f"question {name}")


def columns(rows: Sequence[Place], times: Mapping[str, float] | None = None) -> Places:
    """Return the rows as columns; `times` by id."""
    labels = tuple(dict.fromkeys(row.label for row in rows if row.label is not None))
    sources = tuple(row.source for row in rows)
    ids = [hashed(row.id).to_bytes(8, "big") + b"\0\0\0\0" for row in rows]
    count = len(rows)
    return Places(
        ids=np.frombuffer(b"".join(ids), np.uint8).reshape(count, 12),
        copies=np.zeros(count, np.int32),
        files=np.arange(count, dtype=np.int32),
        lines=np.full(count, -1),
        roles=np.array([ROLES.index(row.role) for row in rows], np.int8),
        labels=np.array([labels.index(row.label) if row.label is not None else -1 for row in rows], np.int32),
        slices=np.full(count, -1, np.int32),
        groups=np.array([hashed(row.group) if row.group else 0 for row in rows], np.uint64),
        asks=np.array([hashed(row.asks) for row in rows], np.uint64),
        times=np.array([(times or {}).get(row.id, np.nan) for row in rows]),
        synthetic=np.array([row.synthetic for row in rows], bool),
        characters=np.array([len(row.asks) for row in rows], np.int32),
        file_names=sources,
        label_names=labels,
        slice_names=(),
    )


def named(rows: Sequence[Place], division: Division) -> dict[str, str | None]:
    """Return the split of each row by its id, None for one that was dropped."""
    splits = [None if split == NONE else SPLITS[split] for split in division.splits.tolist()]
    return {row.id: split for row, split in zip(rows, splits, strict=True)}


def gone(rows: Sequence[Place], division: Division) -> list[Dropped]:
    """Return what was dropped."""
    return list(division.dropped(columns(rows)))
