"""Finds and opens the user's data files: what they are is read off their first bytes, not believed from their names."""

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metier.core import digest
from metier.core.errors import DataError
from metier.core.table import nearest
from metier.prepare.candidate import Role

Layout = Literal["json", "csv", "parquet"]
_LAYOUTS: dict[str, Layout] = {
    ".jsonl": "json", ".ndjson": "json", ".json": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet",
}  # fmt: skip
_READABLE = ".jsonl, .json, .csv, .tsv or .parquet (the text ones also as .gz)"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FOREIGN = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"%PDF", "a PDF document"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ", "compressed with xz"),
    (b"SQLite format 3", "an SQLite database"),
)
_HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """One file of the user's. `name` is how messages and sources call it; `path` is where it is."""

    name: str
    path: Path
    role: Role
    layout: Layout
    compressed: bool
    bytes: int
    sha256: str


def find(name: str, role: Role, folder: Path) -> DataFile:
    """Find one data file and see what it is.

    Args:
        name: the path the user wrote, relative to `folder` or absolute.
        role: what it was named as.
        folder: where metier.yaml is.

    Raises:
        DataError: it is missing, a folder, empty, unreadable or of no known kind.
    """
    path = (folder / Path(name).expanduser()).absolute()
    shown = path.relative_to(folder.absolute()).as_posix() if path.is_relative_to(folder.absolute()) else name
    _require_regular(path, shown)
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
        size, sha256 = path.stat().st_size, digest.of_file(path)
    except PermissionError as error:
        raise DataError(f"{shown}: may not be read", "a file that you may read", f"chmod u+r {path}") from error
    if not head:
        raise DataError(f"{shown}: empty (0 bytes)", "rows")
    compressed = head[:2] == b"\x1f\x8b"
    layout = _layout(path, head, shown, compressed)
    return DataFile(name=shown, path=path, role=role, layout=layout, compressed=compressed, bytes=size, sha256=sha256)


def _require_regular(path: Path, shown: str) -> None:
    if path.is_dir():
        inside = sorted(entry.name for entry in path.iterdir() if entry.suffix in _LAYOUTS or entry.suffix == ".gz")
        example = ", ".join(f"{shown}/{name}" for name in inside[:3])
        do = f"name its files: data.train: [{example}]" if example else f"name a file: {_READABLE}"
        raise DataError(f"{shown}: a folder", "a file", do)
    if not path.exists():
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        close = nearest(path.name, beside)
        hint = f"did you mean '{close}'?" if close else f"paths are relative to metier.yaml; looked at {path}"
        raise DataError(f"{shown}: no such file", "a data file", hint)
    if not path.is_file():
        raise DataError(f"{shown}: neither a file nor a folder", "a data file")


def _layout(path: Path, head: bytes, shown: str, compressed: bool) -> Layout:
    if head[:4] == b"PAR1":
        return "parquet"
    for mark, what in _FOREIGN:
        if head.startswith(mark):
            raise DataError(f"{shown}: {what}", _READABLE, "export it as one of these")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        if not compressed:
            raise DataError(f"{shown}: not compressed, whatever its name says", "gzip data", "name it without .gz")
        suffixes.pop()
    layout = _LAYOUTS.get(suffixes[-1] if suffixes else "")
    if layout is None or layout == "parquet":
        found = "not Parquet inside" if layout == "parquet" else f"a '{suffixes[-1] if suffixes else ''}' file"
        raise DataError(f"{shown}: {found}", _READABLE, 'text goes into .jsonl as {"text": …}, one object a line')
    return layout


class _Counting(io.RawIOBase):
    """A file that reports how many of its bytes have been read, for the progress bar."""

    def __init__(self, path: Path, report: Callable[[int], None]) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._report = report

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self._file.readinto(buffer) or 0
        self._report(count)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def open_text(file: DataFile, encoding: str, report: Callable[[int], None]) -> Iterator[io.TextIOWrapper]:
    """Open a text file for reading; line ends are left as they are.

    Bytes that are not UTF-8 come as lone surrogates (so that the line they stand on can be named); in other encodings
    they raise UnicodeDecodeError.

    Args:
        file: what to open.
        encoding: a codec name, or "auto".
        report: called with the number of (compressed) bytes after each read.

    Raises:
        DataError: the compressed data are damaged, or the text is not in the encoding.
    """
    raw = io.BufferedReader(_Counting(file.path, report), 1 << 18)
    packed = gzip.GzipFile(fileobj=raw, mode="rb") if file.compressed else None
    stream: io.BufferedReader = raw if packed is None else io.BufferedReader(packed, 1 << 18)  # type: ignore[assignment]
    codec = encoding
    try:
        codec = _codec(stream, encoding, file.name)
        errors = "surrogateescape" if codec.startswith("utf-8") else "strict"
        with io.TextIOWrapper(stream, encoding=codec, errors=errors, newline="") as text:
            yield text
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{file.name}: damaged gzip data ({error})", "a whole file", "copy it again") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file.name}: not {codec} text ({error.reason})", codec, _encoding_advice()) from error
    finally:
        raw.close()


def _codec(stream: io.BufferedReader, encoding: str, name: str) -> str:
    if encoding != "auto":
        return "utf-8-sig" if encoding == "utf-8" else encoding
    head = stream.peek(_HEAD_BYTES)[:_HEAD_BYTES]
    marked = next((codec for mark, codec in _MARKS if head.startswith(mark)), None)
    if marked is None and head.count(0) > len(head) // 4:
        likely = "utf-16-le" if head[1:2] == b"\0" else "utf-16-be"
        raise DataError(f"{name}: every other byte is 0", "UTF-8 text", f"if it is UTF-16: prepare.encoding: {likely}")
    return marked or "utf-8"


def _encoding_advice() -> str:
    return "save it as UTF-8, or set prepare.encoding (latin-1, cp1252, utf-16-le …)"


def wrong_bytes(file: DataFile, line: int, text: str) -> DataError:
    """Explain a line that holds bytes which are not UTF-8 (they came as lone surrogates)."""
    place = next(index for index, character in enumerate(text) if "\udc80" <= character <= "\udcff")
    found = f"{file.name}:{line}: byte 0x{ord(text[place]) - 0xDC00:02x} is not UTF-8"
    context = text[max(0, place - 20) : place]
    near = f" (after {context.encode(errors='replace').decode()!r})" if context else ""
    return DataError(found + near, "UTF-8 text", _encoding_advice())
