"""What is in a ZIP archive: documents and data files to read in place; nothing is ever unpacked onto the disk."""

import re
import zipfile
from pathlib import Path

from metier.core.errors import DataError
from metier.prepare.reading.stream import MOST_TIMES_LARGER, SMALL, bomb

_MOST_MEMBERS = 100_000
_OUTSIDE = re.compile(r"^([/\\]|[A-Za-z]:)|(^|[/\\])\.\.([/\\]|$)")
_OFFICE: tuple[tuple[str, str], ...] = (("xl/", "workbook"), ("word/", "docx"), ("content.xml", "workbook"))


def office_kind(path: Path, name: str) -> str | None:
    """Tell whether a ZIP file is a workbook ("workbook"), a Word document ("docx") or an archive of files (None).

    Raises:
        DataError: it is damaged.
    """
    names = [entry.filename for entry in _entries(path, name)]
    if not any(entry in names for entry in ("[Content_Types].xml", "mimetype")):
        return None
    found = next((kind for start, kind in _OFFICE if any(entry.startswith(start) for entry in names)), None)
    if found is None:
        raise DataError(f"{name}: an Office document that is neither a workbook nor a Word text", "rows or text")
    return found


def members(path: Path, name: str) -> list[zipfile.ZipInfo]:
    """Return the files in an archive, in order of their names.

    Raises:
        DataError: it is damaged, encrypted, a bomb, or a name in it leads out of it.
    """
    entries = [entry for entry in _entries(path, name) if not entry.is_dir()]
    if len(entries) > _MOST_MEMBERS:
        raise DataError(f"{name}: {len(entries):,} files", f"at most {_MOST_MEMBERS:,}", "put them into fewer files")
    for entry in entries:
        if _OUTSIDE.search(entry.filename) or "\0" in entry.orig_filename.rstrip("\0"):
            raise DataError(
                f"{name}: the file {entry.filename[:80]!r} in it leads out of the archive", "names below its root",
                "do not use this archive; whoever made it may mean harm",
            )  # fmt: skip
        if entry.flag_bits & 1:
            raise DataError(
                f"{name}: {entry.filename[:80]!r} in it is encrypted", "files to read", "unpack it yourself"
            )
    unpacked, packed = sum(entry.file_size for entry in entries), path.stat().st_size
    if unpacked > SMALL and unpacked > MOST_TIMES_LARGER * packed:
        raise bomb(name, unpacked, packed)
    return sorted(entries, key=lambda entry: entry.filename)


def _entries(path: Path, name: str) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{name}: damaged ZIP data ({error})", "a whole file", "copy it again") from error
