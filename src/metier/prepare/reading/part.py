"""What reading is given: a file of the user's, or several that are read as one, and how each is packed and laid out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from metier.core import digest
from metier.prepare.candidate import Role

Layout = Literal[
    "json", "csv", "parquet", "arrow", "workbook", "xml", "mail", "pdf", "docx", "html", "markdown", "text"
]  # fmt: skip
Packing = Literal["", "gzip", "zstd", "bzip2", "xz"]
DOCUMENTS: tuple[Layout, ...] = ("pdf", "docx", "html", "markdown", "text")
SHOWN: dict[Layout, str] = {
    "json": "JSON", "csv": "delimited text", "parquet": "Parquet", "arrow": "Arrow", "workbook": "a workbook",
    "xml": "XML", "mail": "mail", "pdf": "PDF", "docx": "Word", "html": "HTML", "markdown": "Markdown", "text": "text",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One stream of bytes. `name` is how messages and sources call it; `member` is its name in a ZIP archive."""

    name: str
    path: Path
    layout: Layout
    packing: Packing = ""
    member: str | None = None
    bytes: int = 0


class Own(NamedTuple):
    """What one entry of `data` says of its files alone: `entry` is its place there, `name` what messages call it.

    `columns` are laid over `prepare.columns`; `format` "auto" leaves it to `prepare.format`; `weight` is its part of a
    mixture, None where there is none.
    """

    entry: int
    name: str
    columns: Mapping[str, str | tuple[str, ...]]
    format: str
    weight: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """What one entry of `data` names, and is reported as one: a file, or all the documents of a folder.

    `piece` is what stands behind # in its name: a sheet, or a key of a JSON object. `reason` says how its layout was
    found. `size` and `sha256` are of everything on disk that it comes from. `own`: what its entry says of it alone.
    """

    name: str
    role: Role
    parts: tuple[Part, ...]
    bytes: int
    sha256: str
    piece: str | None = None
    reason: str = ""
    own: Own | None = None

    @property
    def path(self) -> Path:
        """Where its first part is."""
        return self.parts[0].path

    @property
    def layout(self) -> Layout:
        """How its first part is laid out."""
        return self.parts[0].layout

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes it another file than others: no two entries may name the same."""
        first = self.parts[0]
        return (str(first.path.resolve()), first.member or "", self.piece or "")

    def is_unchanged(self) -> bool:
        """Tell whether the bytes on disk are still those that were found."""
        paths = sorted({part.path for part in self.parts})
        return all(path.is_file() for path in paths) and digest_of(paths) == self.sha256


def digest_of(paths: list[Path]) -> str:
    """Return the SHA-256 of one file, or of the digests of several."""
    found = [digest.of_file(path) for path in paths]
    return found[0] if len(found) == 1 else digest.of_value(found)
