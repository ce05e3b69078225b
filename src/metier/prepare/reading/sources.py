"""Everything that `data` names, found: files and folders, data sets of the hub, answers to queries."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from metier.core.errors import DataError
from metier.prepare.candidate import Role
from metier.prepare.reading import database, hub
from metier.prepare.reading.find import find
from metier.prepare.reading.part import DataFile, Own
from metier.prepare.reading.settings import QuerySettings, SourceSettings
from metier.prepare.settings import DataSettings, PrepareSettings, Source

_READING_ORDER: tuple[Role, ...] = ("test", "validation", "train")
"""Held-out files first: what is in them must not be in the training rows."""


def sources(data: DataSettings, settings: PrepareSettings, *, folder: Path, store: Path) -> list[DataFile]:
    """Return every file to read, held-out ones first.

    Args:
        data: what the user names.
        settings: `read` matters here.
        folder: what relative names are relative to.
        store: the `.metier` folder, where answers to queries are kept.

    Raises:
        DataError: something is missing, cannot be used, or is named twice.
    """
    named: list[tuple[Role, Source]] = [("train", source) for source in data.train_files]
    held_out: list[tuple[Role, Source | None]] = [("validation", data.validation), ("test", data.test)]
    named += [(role, source) for role, source in held_out if source]
    files = [
        file
        for entry, (role, source) in enumerate(named)
        for file in _owned(source, entry, role, settings, folder=folder, store=store)
    ]
    _require_once(files)
    return sorted(files, key=lambda file: _READING_ORDER.index(file.role))


def _owned(
    source: Source, entry: int, role: Role, settings: PrepareSettings, *, folder: Path, store: Path
) -> Sequence[DataFile]:
    """Find the files of one entry, with what it says of them alone."""
    if not isinstance(source, SourceSettings):
        return _found(source, role, settings, folder=folder, store=store)
    name = source.path.name if isinstance(source.path, QuerySettings) else source.path
    columns = {str(role): column for role, column in source.columns.items()}
    own = Own(entry, name, columns, source.format, source.weight)
    files = _found(source.path, role, settings, folder=folder, store=store)
    return [replace(file, own=own) for file in files]


def _found(
    source: str | QuerySettings, role: Role, settings: PrepareSettings, *, folder: Path, store: Path
) -> Sequence[DataFile]:
    if isinstance(source, QuerySettings):
        path = database.fetch(source, store)
        (file,) = find(str(path), role, folder, settings.read, "utf-8")
        return [_renamed(file, source.name)]
    if source.startswith(hub.PREFIX):
        paths = hub.fetch(source)
        files = [
            file for path in paths for file in find(str(path), role, folder, settings.read, settings.read.encoding)
        ]
        numbers = [""] if len(files) == 1 else [f"/{number}" for number in range(1, len(files) + 1)]
        return [_renamed(file, source + number) for file, number in zip(files, numbers, strict=True)]
    return find(source, role, folder, settings.read, settings.read.encoding)


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
