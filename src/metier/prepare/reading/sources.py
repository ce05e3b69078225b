"""Everything that `data` names, found: files and folders, data sets of the hub, answers to queries."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from metier.core.errors import DataError
from metier.prepare.candidate import Role
from metier.prepare.reading import database, hub
from metier.prepare.reading.find import find
from metier.prepare.reading.part import DataFile
from metier.prepare.reading.settings import QuerySettings
from metier.prepare.settings import DataSettings, PrepareSettings, Source

_READING_ORDER: tuple[Role, ...] = ("test", "validation", "train")
"""Held-out files first: what is in them must not be in the training rows."""


def sources(data: DataSettings, settings: PrepareSettings, *, folder: Path, store: Path) -> list[DataFile]:
    """Return every file to read, held-out ones first.

    Args:
        data: what the user names.
        settings: `read` and `encoding` matter here.
        folder: what relative names are relative to.
        store: the `.metier` folder, where answers to queries are kept.

    Raises:
        DataError: something is missing, cannot be used, or is named twice.
    """
    named: list[tuple[Role, Source]] = [("train", source) for source in data.train_files]
    held_out: list[tuple[Role, Source | None]] = [("validation", data.validation), ("test", data.test)]
    named += [(role, source) for role, source in held_out if source]
    files = [file for role, source in named for file in _found(source, role, settings, folder=folder, store=store)]
    _require_once(files)
    return sorted(files, key=lambda file: _READING_ORDER.index(file.role))


def _found(source: Source, role: Role, settings: PrepareSettings, *, folder: Path, store: Path) -> Sequence[DataFile]:
    if isinstance(source, QuerySettings):
        path = database.fetch(source, store)
        (file,) = find(str(path), role, folder, settings.read, "utf-8")
        return [_renamed(file, source.name)]
    if source.startswith(hub.PREFIX):
        paths = hub.fetch(source)
        files = [file for path in paths for file in find(str(path), role, folder, settings.read, settings.encoding)]
        numbers = [""] if len(files) == 1 else [f"/{number}" for number in range(1, len(files) + 1)]
        return [_renamed(file, source + number) for file, number in zip(files, numbers, strict=True)]
    return find(source, role, folder, settings.read, settings.encoding)


def _renamed(file: DataFile, name: str) -> DataFile:
    return replace(file, name=name, parts=tuple(replace(part, name=name) for part in file.parts))


def _require_once(files: Sequence[DataFile]) -> None:
    seen: dict[tuple[str, ...], DataFile] = {}
    for file in files:
        first = seen.setdefault(file.identity, file)
        if first is not file:
            raise DataError(
                f"{file.name}: named as {first.role} and again as {file.role}",
                "every file once",
                "leave out data.validation or data.test to have a share of the training rows set aside",
            )
