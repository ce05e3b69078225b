"""Finds the user's data: files, folders, patterns and archives, each with what it is."""

import glob
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from metier.core.errors import DataError
from metier.core.table import nearest
from metier.prepare.candidate import Role
from metier.prepare.reading.archive import members, office_kind
from metier.prepare.reading.part import DOCUMENTS, SHOWN, DataFile, Layout, Part, digest_of
from metier.prepare.reading.settings import ReadSettings
from metier.prepare.reading.sniff import PACKED_SUFFIXES, SUFFIXES, Sniffed, sniff, suffix_of
from metier.prepare.reading.stream import HEAD_BYTES, head_of, packing_of

_WILD = set("*?[")
_LEFT_OUT = ("license", "licence", "notice", "readme", "copying", "upstream_", "changelog", "dataset_info")
"""How names begin of files that stand beside data and are none; naming one reads it all the same."""


def find(name: str, role: Role, folder: Path, settings: ReadSettings, encoding: str = "auto") -> list[DataFile]:
    """Find what one entry of `data` names and see what it is.

    Args:
        name: a path relative to `folder` or absolute; a folder; a pattern with * or ?; with #PIECE behind it, one sheet
            of a workbook, one key of a JSON object or one file of an archive.
        role: what it was named as.
        folder: where metier.yaml is.
        settings: `layout` matters here.
        encoding: `prepare.read.encoding`.

    Returns:
        Tables and JSON files each on their own; all documents of a folder or archive as one.

    Raises:
        DataError: it is missing, empty, unreadable or of no known kind.
    """
    plain, piece = _split_piece(name, folder)
    path = (folder / Path(plain).expanduser()).absolute()
    found = _Found(folder.absolute(), settings, encoding)
    if _WILD & set(plain) and not path.exists():
        paths = [Path(match) for match in sorted(glob.glob(str(path), recursive=True)) if Path(match).is_file()]
        if not paths:
            raise DataError(f"{plain}: no file fits this pattern", "a data file", f"looked below {folder}")
        parts = [part for each in paths for part in found.at(each, found.shown(each), None)]
    elif path.is_dir():
        parts = [part for each in _inside(path, plain) for part in found.at(each, found.shown(each), None)]
    else:
        shown = found.shown(path) if path.is_relative_to(folder.absolute()) else plain
        _require_regular(path, shown)
        parts = found.at(path, shown, piece)
        piece = None if parts[0].member else piece
    return _as_files(parts, plain, role, piece, found.reasons)


def _split_piece(name: str, folder: Path) -> tuple[str, str | None]:
    """Take what stands behind # off, unless a file bears the whole name."""
    plain, mark, piece = name.rpartition("#")
    return (plain, piece) if mark and plain and not (folder / Path(name).expanduser()).exists() else (name, None)


class _Found:
    """Turns paths into parts, and remembers why each is taken for what it is."""

    def __init__(self, root: Path, settings: ReadSettings, encoding: str) -> None:
        self._root, self._settings, self._encoding = root, settings, encoding
        self.reasons: dict[str, str] = {}

    def shown(self, path: Path) -> str:
        """Return how messages call a path."""
        return path.relative_to(self._root).as_posix() if path.is_relative_to(self._root) else str(path)

    def at(self, path: Path, shown: str, member: str | None) -> list[Part]:
        """Return the part that a file is, or the parts in it when it is an archive."""
        try:
            with path.open("rb") as stream:
                head, size = stream.read(HEAD_BYTES), path.stat().st_size
        except PermissionError as error:
            raise DataError(f"{shown}: may not be read", "a file that you may read", f"chmod u+r {path}") from error
        if not head:
            raise DataError(f"{shown}: empty (0 bytes)", "rows", "write it again, or name another file")
        if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            kind = office_kind(path, shown)
            return self._archived(path, shown, member) if kind is None else [self._part(path, shown, size, kind)]  # type: ignore[arg-type]
        packing = packing_of(head)
        if not packing and PurePosixPath(shown).suffix.lower() in PACKED_SUFFIXES:
            suffix = PurePosixPath(shown).suffix.lower()
            do = f"name it without {suffix}"
            raise DataError(f"{shown}: not compressed, whatever its name says", f"{suffix} data", do)
        part = Part(name=shown, path=path, layout="text", packing=packing, bytes=size)
        return [self._laid_out(part, head_of(part) if packing else head)]

    def _part(self, path: Path, shown: str, size: int, layout: Layout) -> Part:
        self.reasons[shown] = f"{SHOWN[layout]}, by its first bytes"
        return Part(name=shown, path=path, layout=layout, bytes=size)

    def _laid_out(self, part: Part, head: bytes) -> Part:
        if self._settings.layout != "auto":
            found = Sniffed(self._settings.layout, 1.0, "prepare.read.layout")
        else:
            found = sniff(part.name, head, self._encoding)
        sure = "" if found.confidence == 1 else f", {found.confidence:.0%} sure"
        self.reasons[part.name] = f"{SHOWN[found.layout]}, by {found.reason}{sure}"
        return Part(
            name=part.name, path=part.path, layout=found.layout, packing=part.packing, member=part.member,
            bytes=part.bytes,
        )  # fmt: skip

    def _archived(self, path: Path, shown: str, member: str | None) -> list[Part]:
        entries = [entry for entry in members(path, shown) if member in (None, entry.filename)]
        if member is not None and not entries:
            close = nearest(member, [entry.filename for entry in members(path, shown)])
            raise DataError(
                f"{shown}: no file {member!r} in it", "a file in it", f"did you mean '{close}'?" if close else ""
            )
        parts = []
        for entry in entries:
            name = f"{shown}/{entry.filename}"
            if entry.file_size and (member is not None or _is_data(PurePosixPath(entry.filename))):
                bare = Part(name=name, path=path, layout="text", member=entry.filename, bytes=entry.compress_size)
                packed = Part(
                    name=name, path=path, layout="text", member=entry.filename, bytes=entry.compress_size,
                    packing=packing_of(head_of(bare)),
                )  # fmt: skip
                parts.append(self._laid_out(packed, head_of(packed)))
        if not parts:
            raise DataError(f"{shown}: an archive without data in it", "data files or documents")
        return parts


def _is_data(path: PurePosixPath) -> bool:
    """Tell by its name whether a file in a folder is meant."""
    hidden = any(piece.startswith((".", "__MACOSX")) for piece in path.parts)
    known = suffix_of(path.name) in SUFFIXES or path.suffix.lower() == ".zip"
    return known and not hidden and not path.name.lower().startswith(_LEFT_OUT)


def _inside(path: Path, shown: str) -> list[Path]:
    found = sorted(
        each for each in path.rglob("*") if each.is_file() and _is_data(PurePosixPath(each.relative_to(path)))
    )
    if not found:
        raise DataError(f"{shown}: a folder without data in it", "files such as .jsonl, .csv, .pdf or .txt")
    return found


def _require_regular(path: Path, shown: str) -> None:
    if not path.exists():
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        close = nearest(path.name, beside)
        hint = f"did you mean '{close}'?" if close else f"paths are relative to metier.yaml; looked at {path}"
        raise DataError(f"{shown}: no such file", "a data file", hint)
    if not path.is_file():
        raise DataError(f"{shown}: neither a file nor a folder", "a data file")


def _as_files(
    parts: Sequence[Part], name: str, role: Role, piece: str | None, reasons: dict[str, str]
) -> list[DataFile]:
    """Make a file of each table, and one of all documents, of all XML and of all mails."""
    tables = [part for part in parts if _family(part) is None]
    files = [_file(part.name, role, [part], piece, reasons[part.name]) for part in tables]
    families: dict[str, list[Part]] = {}
    for part in parts:
        if (family := _family(part)) is not None:
            families.setdefault(family, []).append(part)
    if tables and (beside := families.pop("documents", [])):
        note = f"; {len(beside):,} documents beside it are left out, e.g. {beside[0].name}: name them to read them"
        files[0] = replace(files[0], reason=files[0].reason + note)
    for family, together in families.items():
        if len(together) == 1:
            files.append(_file(together[0].name, role, together, piece, reasons[together[0].name]))
        else:
            shown = name.rstrip("/") + (f" ({family})" if len(families) > 1 or tables else "")
            files.append(_file(shown, role, together, None, f"{len(together):,} files"))
    return files


def _family(part: Part) -> str | None:
    if part.layout in DOCUMENTS:
        return "documents"
    return part.layout if part.layout in ("xml", "mail") else None


def _file(name: str, role: Role, parts: Sequence[Part], piece: str | None, reason: str) -> DataFile:
    paths = sorted({part.path for part in parts})
    shown = f"{name}#{piece}" if piece else name
    return DataFile(
        name=shown, role=role, parts=tuple(parts), piece=piece, reason=reason,
        bytes=sum(part.bytes for part in parts), sha256=digest_of(paths),
    )  # fmt: skip
