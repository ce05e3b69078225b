"""Training rows by class: of one label, of one slice, or from one file."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metier.core.errors import DataError
from metier.prepare.balance.settings import ClassKind
from metier.prepare.duplicates.words import mixed
from metier.prepare.places import Places
from metier.prepare.reading.part import DataFile


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Classes:
    """The classes of N rows. `codes` int64 [N] into `names`, -1 for a row of none."""

    codes: np.ndarray
    names: tuple[str, ...]

    def counts(self, numbers: np.ndarray) -> np.ndarray:
        """Return how many of these rows are of each class, int64 [classes]."""
        codes = self.codes[numbers]
        return np.bincount(codes[codes >= 0], minlength=len(self.names))


def classes_of(places: Places, kind: ClassKind, files: Sequence[DataFile]) -> Classes:
    """Return the classes of all rows; `files` say which documents are reported as one source."""
    if kind == "label":
        return Classes(codes=places.labels.astype(np.int64), names=places.label_names)
    if kind == "slice":
        return Classes(codes=places.slices.astype(np.int64), names=places.slice_names)
    names = tuple(dict.fromkeys(file.name for file in files))
    numbers = {part.name: names.index(file.name) for file in files for part in file.parts}
    numbers |= {name: number for number, name in enumerate(names)}
    return Classes(codes=np.array([numbers[name] for name in places.file_names])[places.files], names=names)


def require_some(classes: Classes, numbers: np.ndarray, setting: str, kind: ClassKind) -> None:
    """Check that there is something to go by.

    Raises:
        DataError: no training row is of any class.
    """
    if not (classes.codes[numbers] >= 0).any():
        raise DataError(
            f"prepare.balance.{setting} goes by {kind}, and no training row has one", f"rows with a {kind}",
            f"name the column as prepare.columns.{kind}, or go by another: prepare.balance.by",
        )  # fmt: skip


def drawn(places: Places, numbers: np.ndarray, spared: np.ndarray) -> np.ndarray:
    """Return rows in the order in which they are chosen: spared ones, then by a hash of their content.

    So a row that was chosen among some is, as far as there is room, chosen again when others have come.
    """
    keys = np.ascontiguousarray(places.ids[numbers, :8]).view(np.uint64)[:, 0]
    return numbers[np.lexsort((mixed(keys + places.copies[numbers].astype(np.uint64)), ~spared[numbers]))]
