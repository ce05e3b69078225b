"""The one writer for everything durable.

A directory artefact goes: temporary directory beside the target → files → fsync each → manifest with SHA-256, last →
fsync directory → rename → fsync parent. A reader verifies against the manifest; what has none does not exist. Replacing
an artefact moves the old one aside first and deletes it only after the new one is published, so that at every moment
one whole generation can be found again (`recover`). A temporary directory is locked as long as its writer lives: what a
dead one left is deleted by whoever publishes there next.
"""

import errno
import fcntl
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metier.core import digest, room
from metier.core.errors import DataError

MANIFEST = "manifest.json"
_TEMPORARY = ".tmp-"
_ASIDE = ".old-"
_OVERTAKEN = {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an artefact holds: `files` name -> {sha256, bytes}; `facts` is free; `digest` identifies the content."""

    kind: str
    files: Mapping[str, Mapping[str, Any]]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 over the names and hashes of all files."""
        return digest.of_value({name: entry["sha256"] for name, entry in self.files.items()})


def write_file(path: Path, data: bytes | str, *, private: bool = False) -> None:
    """Write one file so that a reader sees the old content or the new, never a part. `private`: for its owner alone.

    Raises:
        DiskFullError: the device is full; nothing was changed.
    """
    content = data.encode() if isinstance(data, str) else data
    temporary = path.parent / f"{_TEMPORARY}{path.name}-{uuid.uuid4().hex[:8]}"
    try:
        with room.told(path, lambda: f"{len(content):,}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
            with open(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
            _sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def publish(target: Path, *, kind: str, facts: Mapping[str, Any] | None = None) -> Iterator[Path]:
    """Yield a temporary directory; when the block ends well it becomes `target`, whole and verified by its manifest.

    Args:
        target: the directory to make. An artefact already there is replaced; it survives until the new one is whole.
        kind: what it is ("snapshot", "checkpoint"), checked by `read`.
        facts: small plain values to keep in the manifest. May be filled inside the block.

    Raises:
        DiskFullError: the device is full; the old artefact, if any, is intact.
    """
    with room.told(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        recover(target)
        _clear(target)
        with _workplace(target) as temporary, room.told(target, lambda: f"more than {_size(temporary):,}"):
            yield temporary
            _seal(temporary, kind, facts or {})
            _swap(temporary, target)


def read(target: Path, kind: str | None = None) -> Manifest:
    """Read and check the manifest of an artefact; file contents are checked by `verify`.

    Raises:
        DataError: there is no artefact, it is of another kind, or its manifest cannot be read.
    """
    recover(target)
    path = target / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest(kind=data["kind"], files=data["files"], facts=data["facts"])
        if data.keys() - {"seal"} != {"kind", "files", "facts"} or data.get("seal", _mark(data)) != _mark(data):
            raise ValueError("changed since it was written")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        missing = f"{target}: no {MANIFEST}"
        raise DataError(missing, f"a complete {kind or 'artefact'}", "run the stage that makes it") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: not a manifest ({error})", "the manifest metier wrote", _again(target)) from error
    if kind is not None and manifest.kind != kind:
        raise DataError(f"{target}: a {manifest.kind}", f"a {kind}")
    return manifest


def read_json(path: Path) -> Any:
    """Return what a file of JSON holds that metier wrote by itself, outside of an artefact or inside.

    Raises:
        DataError: it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: damaged ({error})", "the JSON that metier wrote",
            "put it back from a copy, or run the stage again that wrote it",
        ) from error  # fmt: skip


def verify(target: Path, kind: str | None = None) -> Manifest:
    """Read the manifest and check every file against it, byte for byte.

    Raises:
        DataError: a file is missing, has another size or another hash; names the file.
    """
    manifest = read(target, kind)
    for name, entry in manifest.files.items():
        path = target / name
        if not path.is_file():
            raise DataError(f"{path}: missing", "the file the manifest names", _again(target))
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise DataError(f"{path}: {size} bytes", f"{entry['bytes']} bytes", _again(target))
        if digest.of_file(path) != entry["sha256"]:
            raise DataError(f"{path}: changed since it was written", "its SHA-256", _again(target))
    return manifest


def _again(target: Path) -> str:
    return f"put it back from a copy, or move {target} aside and run again"


def exists(target: Path, kind: str | None = None) -> bool:
    """Tell whether a complete artefact (of this kind) stands at `target`."""
    try:
        read(target, kind)
    except DataError:
        return False
    return True


def recover(target: Path) -> None:
    """Put the old generation back if a replacement died between its two renames."""
    aside = target.parent / f"{_ASIDE}{target.name}"
    if not aside.exists() or target.exists():
        return
    try:
        os.rename(aside, target)
    except OSError as error:  # another process put it back, or published a new one
        if error.errno not in _OVERTAKEN:
            raise
    else:
        _sync_directory(target.parent)


def sweep(parent: Path) -> None:
    """Delete leftovers of writers that died in `parent`. The caller holds the lock of that directory."""
    if not parent.is_dir():
        return
    for entry in parent.iterdir():
        if entry.name.startswith(_TEMPORARY):
            _clear_one(entry) if entry.is_dir() else entry.unlink()
        elif entry.name.startswith(_ASIDE) and (parent / entry.name.removeprefix(_ASIDE)).exists():
            shutil.rmtree(entry)


def remove(target: Path) -> None:
    """Delete an artefact: manifest first, so that a half-deleted one is invisible; and no older one comes back."""
    generations = (target.parent / f"{_ASIDE}{target.name}", target)
    for directory in generations:
        (directory / MANIFEST).unlink(missing_ok=True)
    for directory in generations:
        shutil.rmtree(directory, ignore_errors=True)


def _seal(directory: Path, kind: str, facts: Mapping[str, Any]) -> None:
    """Sync every file, then write the manifest that makes the directory complete."""
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            path.chmod(0o644)
            _sync_file(path)
            name = path.relative_to(directory).as_posix()
            files[name] = {"sha256": digest.of_file(path), "bytes": path.stat().st_size}
        else:
            _sync_directory(path)
    data = json.loads(json.dumps({"kind": kind, "facts": dict(facts), "files": files}, ensure_ascii=False))
    manifest = directory / MANIFEST
    text = json.dumps(data | {"seal": _mark(data)}, indent=1, ensure_ascii=False)
    manifest.write_text(text + "\n", encoding="utf-8")
    _sync_file(manifest)
    _sync_directory(directory)


def _mark(data: Mapping[str, Any]) -> str:
    """Return the hash that a manifest carries of itself, so that a changed fact is found as a changed file is."""
    return digest.of_bytes(json.dumps([data["kind"], data["facts"], data["files"]], sort_keys=True).encode())


def _size(directory: Path) -> int:
    """Return the bytes of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _swap(temporary: Path, target: Path) -> None:
    """Rename the new generation into place; the old one is moved aside and deleted afterwards."""
    aside = target.parent / f"{_ASIDE}{target.name}"
    while True:
        try:
            if target.exists():
                _discard(aside)
                os.rename(target, aside)
            os.rename(temporary, target)
        except OSError as error:  # between the renames a reader put the old one back, or another writer was faster
            if error.errno not in _OVERTAKEN or not temporary.exists():
                raise
        else:
            break
    _sync_directory(target.parent)
    _discard(aside)


def _discard(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """Make a temporary directory beside a target, locked inside the block and gone after it."""
    while True:
        temporary = target.parent / f"{_TEMPORARY}{target.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        temporary.mkdir()
        try:
            descriptor = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # taken for a dead writer's before it was locked
            continue
        try:
            with suppress(OSError):  # a file system without locks: then nobody can tell that it is left, either
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not temporary.exists():
                continue
            yield temporary
            return
        finally:
            os.close(descriptor)
            _discard(temporary)


def _clear(target: Path) -> None:
    """Delete what dead writers of a target left beside it."""
    ours = re.compile(re.escape(f"{_TEMPORARY}{target.name}-") + r"\d+-[0-9a-f]{8}")
    for entry in target.parent.iterdir():
        if ours.fullmatch(entry.name):
            _clear_one(entry)


def _clear_one(temporary: Path) -> None:
    """Delete a temporary directory, unless its writer lives."""
    try:
        descriptor = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    else:
        shutil.rmtree(temporary, ignore_errors=True)
    finally:
        os.close(descriptor)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_sync_directory = _sync_file
