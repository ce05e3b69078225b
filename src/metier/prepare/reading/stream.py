"""Opens the user's files as bytes and as text, unpacked as they are read, with a guard against what only unpacks."""

import bz2
import codecs
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as arrow

from metier.core.errors import DataError
from metier.prepare.reading.part import Packing, Part

MOST_TIMES_LARGER = 200
SMALL = 1 << 26
"""Bytes that may come out of any archive, however small it is."""

HEAD_BYTES = 1 << 16
_BUFFER = 1 << 18
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PACKED: tuple[tuple[bytes, Packing], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
)
WRONG_BYTE = re.compile("[\udc80-\udcff]")
"""A byte that is not UTF-8, as reading hands it on."""

DAMAGED = (
    gzip.BadGzipFile, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, arrow.ArrowException,
    NotImplementedError, RuntimeError,
)  # fmt: skip
"""What reading packed bytes may raise besides OSError."""


def packing_of(head: bytes) -> Packing:
    """Tell from the first bytes how a file is packed."""
    return next((packing for mark, packing in _PACKED if head.startswith(mark)), "")


class _Counting(io.RawIOBase):
    """A file that reports how many of its bytes have been read, for the progress bar and for the guard."""

    def __init__(self, file: BinaryIO, report: Callable[[int], None]) -> None:
        super().__init__()
        self._file = file
        self._report = report
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self.count += len(data)
        self._report(len(data))
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Guarded(io.RawIOBase):
    """Unpacked bytes; refuses to go on when far more come out than text ever shrinks to."""

    def __init__(self, stream: BinaryIO, packed: _Counting, name: str) -> None:
        super().__init__()
        self._stream = stream
        self._packed = packed
        self._name = name
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._count += len(data)
        if self._count > SMALL and self._count > MOST_TIMES_LARGER * max(self._packed.count, 1):
            raise bomb(self._name, self._count, self._packed.count)
        return len(data)


def bomb(name: str, unpacked: int, packed: int) -> DataError:
    """Say that an archive unpacks to more than data can."""
    times = unpacked // max(packed, 1)
    return DataError(
        f"{name}: unpacks to {times:,} times its size or more: a decompression bomb",
        f"at most {MOST_TIMES_LARGER} times",
        "if you trust it, unpack it yourself and name what is in it",
    )


@contextmanager
def open_bytes(part: Part, report: Callable[[int], None] = lambda count: None) -> Iterator[io.BufferedReader]:
    """Open a part for reading from its start, unpacked.

    Args:
        part: what to open.
        report: called with the number of packed bytes after each read.

    Raises:
        DataError: the packed data are damaged, or a bomb.
    """
    with ExitStack() as stack:
        try:
            counting = _Counting(stack.enter_context(_source(part)), report)
            raw = stack.enter_context(io.BufferedReader(counting, _BUFFER))
            unpacked = _unpacked(cast(BinaryIO, raw), part.packing)
            if unpacked is raw:
                yield cast(io.BufferedReader, raw)
            else:
                yield stack.enter_context(
                    io.BufferedReader(_Guarded(stack.enter_context(unpacked), counting, part.name), _BUFFER)
                )
        except DAMAGED as error:
            packed = part.packing or "ZIP"
            raise DataError(f"{part.name}: damaged {packed} data ({error})", "a whole file", "copy it again") from error
        except OSError as error:
            if part.member is not None or (part.packing and error.errno is None):  # so say zipfile, bz2 and Arrow
                packed = part.packing or "ZIP"
                raise DataError(
                    f"{part.name}: damaged {packed} data ({error})", "a whole file", "copy it again"
                ) from error
            raise


@contextmanager
def _source(part: Part) -> Iterator[BinaryIO]:
    if part.member is None:
        with part.path.open("rb", buffering=0) as file:
            yield file  # type: ignore[misc]
        return
    with zipfile.ZipFile(part.path) as archive, archive.open(part.member) as file:
        yield cast(BinaryIO, file)


def _unpacked(raw: BinaryIO, packing: Packing) -> BinaryIO:
    if packing == "gzip":
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw, mode="rb"))
    if packing == "zstd":
        return cast(BinaryIO, arrow.CompressedInputStream(arrow.PythonFile(raw, mode="r"), "zstd"))
    if packing == "bzip2":
        return cast(BinaryIO, bz2.BZ2File(raw))
    return cast(BinaryIO, lzma.LZMAFile(raw)) if packing == "xz" else raw


def head_of(part: Part) -> bytes:
    """Return the first bytes of a part, unpacked."""
    with open_bytes(part) as stream:
        return stream.read(HEAD_BYTES)


@contextmanager
def open_text(part: Part, encoding: str, report: Callable[[int], None]) -> Iterator[io.TextIOWrapper]:
    """Open a text for reading; line ends are left as they are.

    Bytes that are not UTF-8 come as lone surrogates (so that the line they stand on can be named); in other encodings
    they raise UnicodeDecodeError.

    Args:
        part: what to open.
        encoding: a codec name, or "auto".
        report: called with the number of (packed) bytes after each read.

    Raises:
        DataError: the packed data are damaged, or the text is not in the encoding.
    """
    with open_bytes(part, report) as stream:
        codec = codec_of(stream.peek(HEAD_BYTES)[:HEAD_BYTES], encoding, part.name)
        errors = "surrogateescape" if codec.startswith("utf-8") else "strict"
        try:
            with io.TextIOWrapper(stream, encoding=codec, errors=errors, newline="") as text:
                yield text
        except UnicodeDecodeError as error:
            raise DataError(f"{part.name}: not {codec} text ({error.reason})", codec, _encoding_advice()) from error


def read_text(part: Part, encoding: str, report: Callable[[int], None], *, most: int) -> str:
    """Return a text whole, its line ends made one.

    Raises:
        DataError: it holds more than `most` characters, or bytes that are no text.
    """
    with open_text(part, encoding, report) as stream:
        text = stream.read(most + 1)
    if len(text) > most:
        raise DataError(f"{part.name}: more than {most:,} characters", "a smaller document", "split it")
    if not text.isascii() and (wrong := WRONG_BYTE.search(text)):
        place = wrong.start()
        raise wrong_bytes(part.name, text.count("\n", 0, place) + 1, text[max(0, place - 40) : place + 1])
    return text.replace("\r\n", "\n").replace("\r", "\n")


def codec_of(head: bytes, encoding: str, name: str) -> str:
    """Return the codec of a text from the mark at its start, unless the user names one."""
    if encoding != "auto":
        return "utf-8-sig" if encoding == "utf-8" else encoding
    marked = next((codec for mark, codec in _MARKS if head.startswith(mark)), None)
    if marked is None and head.count(0) > len(head) // 4:
        likely = "utf-16-le" if head[1:2] == b"\0" else "utf-16-be"
        raise DataError(
            f"{name}: every other byte is 0", "UTF-8 text", f"if it is UTF-16: prepare.read.encoding: {likely}"
        )
    return marked or "utf-8"


def _encoding_advice() -> str:
    return "save it as UTF-8, or set prepare.read.encoding (latin-1, cp1252, utf-16-le …)"


def wrong_bytes(name: str, line: int, text: str) -> DataError:
    """Explain a line that holds bytes which are not UTF-8 (they came as lone surrogates)."""
    place = next(index for index, character in enumerate(text) if "\udc80" <= character <= "\udcff")
    found = f"{name}:{line}: byte 0x{ord(text[place]) - 0xDC00:02x} is not UTF-8"
    context = text[max(0, place - 20) : place]
    near = f" (after {context.encode(errors='replace').decode()!r})" if context else ""
    return DataError(found + near, "UTF-8 text", _encoding_advice())


def small_copy(part: Part, report: Callable[[int], None], *, most: int) -> io.BytesIO | Path:
    """Return what can be read at any place: the file itself, or a copy in memory of what is packed.

    Raises:
        DataError: the copy would be larger than `most` bytes.
    """
    if not part.packing and part.member is None:
        report(part.bytes)
        return part.path
    with open_bytes(part, report) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise DataError(f"{part.name}: more than {most >> 20:,} MiB unpacked", "a smaller file", "unpack it yourself")
    return io.BytesIO(data)
