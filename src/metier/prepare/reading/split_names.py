"""Splits by their names: what people call them, and files that are called so and read as training rows all the same."""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from metier.prepare.reading.part import DataFile

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test", "testing"),
}
"""What people call the splits."""


def overlooked(files: Sequence[DataFile]) -> Iterator[str]:
    """Yield a warning where files are called train, validation or test, and all are training rows.

    Args:
        files: everything that is read.
    """
    if any(file.role != "train" for file in files):
        return
    names = sorted({f"{part.name}#{file.piece}" if file.piece else part.name for file in files for part in file.parts})
    called: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name, words in zip(names, _own_words(names), strict=True):
        split = next((split for split, usual in SPLITS.items() if words & set(usual)), None)
        if split is not None:
            called[split].append(name)
    held_out = {split: named for split, named in called.items() if split != "train" and named}
    if called["train"] and held_out:
        told = " and ".join(
            f"{named[0]}{f' and {len(named) - 1} more' * (len(named) > 1)}" for named in held_out.values()
        )
        yield (
            f"all files are training rows and split anew, though their names say otherwise: {told}; "
            f"to keep that: {', '.join(f'data.{split}' for split in held_out)}"
        )


def _own_words(names: Sequence[str]) -> list[set[str]]:
    """Return the words of each name, without the folders that all of them share."""
    paths = [PurePosixPath(name).parts for name in names]
    shared = next(
        (place for place, steps in enumerate(zip(*paths, strict=False)) if len(set(steps)) > 1),
        min(map(len, paths), default=0) - 1,
    )
    return [set(re.split(r"[^a-z]+", "/".join(steps[shared:]).lower())) for steps in paths]
