"""Reads documents as rows of text: PDF, Word, HTML, Markdown and plain text; the document is their group."""

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

from metier.core import extras
from metier.core.errors import DataError
from metier.prepare.reading import web
from metier.prepare.reading.archive import members
from metier.prepare.reading.chunks import Block, chunks
from metier.prepare.reading.part import Part
from metier.prepare.reading.record import Record
from metier.prepare.reading.settings import ChunkSettings
from metier.prepare.reading.stream import read_text, small_copy

_MOST = 1 << 28
_LONGEST_STRETCH = 16
"""Rows of one document that stay together: neighbours tell the same story."""

_ATX = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)(?:\s+#+)?\s*$")
_UNDERLINE = re.compile(r"^ {0,3}(=+|-+)\s*$")
_FENCE = re.compile(r"^ {0,3}(```+|~~~+)")


def document(
    part: Part, encoding: str, report: Callable[[int], None], settings: ChunkSettings, *, alone: bool
) -> Iterator[Record]:
    """Yield the rows of a document: text, the headings above it, and a group that never straddles two splits.

    Args:
        part: the document.
        encoding: `prepare.read.encoding`.
        report: called with the number of bytes read.
        settings: how it is cut.
        alone: whether it is one of too few to be divided whole; then stretches of it are groups.

    Raises:
        MissingExtraError: the extra 'files' is not installed (PDF and Word).
        DataError: it is damaged, encrypted, or holds no text.
    """
    found = list(chunks(_blocks(part, encoding, report), settings))
    stretch = min(_LONGEST_STRETCH, 1 + len(found) // 20)
    for number, chunk in enumerate(found):
        group = f"{part.name} {number // stretch + 1}" if alone else part.name
        value: dict[str, Any] = {"text": chunk.text, "group": group}
        if chunk.headings:
            value["heading"] = " > ".join(chunk.headings)
        yield Record(chunk.line, json.dumps(value, ensure_ascii=False), value)


def _blocks(part: Part, encoding: str, report: Callable[[int], None]) -> list[Block]:
    if part.layout == "pdf":
        return _pdf(part, report)
    if part.layout == "docx":
        return _word(part, report)
    text = read_text(part, encoding, report, most=_MOST)
    if part.layout == "html":
        return web.blocks_of(text)
    return markdown_blocks(text) if part.layout == "markdown" else text_blocks(text)


def text_blocks(text: str) -> list[Block]:
    """Return the paragraphs of a plain text: what stands between empty lines."""
    found, line = [], 1
    for paragraph in re.split(r"\n[ \t\f]*(?=\n)", text):
        said = "\n".join(each.strip() for each in paragraph.strip("\n").split("\n")).strip().replace("\0", "")
        if said:
            found.append(Block((), said, line + len(paragraph) - len(paragraph.lstrip("\n"))))
        line += paragraph.count("\n") + 1
    return found


def markdown_blocks(text: str) -> list[Block]:
    """Return the paragraphs of a Markdown text below their headings; code in fences is one block."""
    path: list[tuple[int, str]] = []
    found: list[Block] = []
    held: list[str] = []
    first, fence = 1, ""

    def close() -> None:
        said = "\n".join(held).strip("\n").replace("\0", "")
        if said.strip():
            found.append(Block(tuple(title for _, title in path), said, first))
        held.clear()

    for number, line in enumerate(text.split("\n"), 1):
        mark = _FENCE.match(line)
        if mark and (not fence or line.strip().startswith(fence)):
            fence = "" if fence else mark[1]
        heading = None if fence or mark else _heading(line, held)
        if heading is not None:
            close()
            path[:] = [each for each in path if each[0] < heading[0]] + [heading]
        elif not line.strip() and not fence:
            close()
        else:
            first = first if held else number
            held.append(line)
    close()
    return found


def _heading(line: str, held: list[str]) -> tuple[int, str] | None:
    """Return the level and title of a heading; one that is underlined takes its title out of `held`."""
    if match := _ATX.match(line):
        return len(match[1]), match[2]
    if len(held) == 1 and _UNDERLINE.match(line) and not held[0].startswith(("- ", "|", ">")):
        return (1 if line.strip()[0] == "=" else 2), held.pop().strip()
    return None


def _word(part: Part, report: Callable[[int], None]) -> list[Block]:
    library = extras.load("mammoth", "files")
    if part.member is None:
        members(part.path, part.name)  # refuses bombs
    source = small_copy(part, report, most=_MOST)
    try:
        stream = source if isinstance(source, io.BytesIO) else io.BytesIO(source.read_bytes())
        pictures = library.images.img_element(lambda image: {"src": ""})
        return web.blocks_of(library.convert_to_html(stream, convert_image=pictures).value)
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, OSError, EOFError, SyntaxError) as error:
        raise DataError(f"{part.name}: damaged Word document ({error})", "a whole file", "save it again") from error


def _pdf(part: Part, report: Callable[[int], None]) -> list[Block]:
    """Return the paragraphs of a PDF by page, below the titles of its outline."""
    library = extras.load("pypdf", "files")
    logging.getLogger("pypdf").addHandler(logging.NullHandler())  # it has much to say about damaged files
    source = small_copy(part, report, most=_MOST)
    try:
        reader = library.PdfReader(source, strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise DataError(f"{part.name}: encrypted", "a PDF that opens without a password", "save it without one")
        titles = _outline(reader)
        blocks, path = [], ()
        for number, page in enumerate(reader.pages, 1):
            path = titles.get(number - 1, path)
            for block in text_blocks(_joined_lines(page.extract_text() or "")):
                blocks.append(Block(path, block.text, number))
    except DataError:
        raise
    except (library.errors.PyPdfError, OSError, *_PDF_FAULTS) as error:
        raise DataError(f"{part.name}: damaged PDF ({str(error)[:100]})", "a whole file", "save it again") from error
    if not blocks:
        raise DataError(f"{part.name}: a PDF without text (pictures of pages)", "text", "run OCR over it first")
    return blocks


_PDF_FAULTS = (KeyError, ValueError, TypeError, AttributeError, IndexError, RecursionError, NotImplementedError,
               AssertionError, OverflowError)  # fmt: skip
"""What damaged PDFs make of the library."""


def _outline(reader: Any) -> dict[int, tuple[str, ...]]:
    """Return the path of titles that begins on each page; outlines are often broken and then left alone."""
    found: dict[int, tuple[str, ...]] = {}

    def walk(entries: Any, above: tuple[str, ...]) -> None:
        here = above
        for entry in entries:
            if isinstance(entry, list):
                walk(entry, here)
            else:
                here = (*above, str(entry.title).strip())
                page = reader.get_destination_page_number(entry)
                if page is not None:
                    found[page] = here

    try:
        walk(reader.outline, ())
    except _PDF_FAULTS:
        return {}
    return found


def _joined_lines(text: str) -> str:
    """Put words that a line end divides together, and lines that go on."""
    text = re.sub(r"(\w)-\n(?=[a-zäöüß])", r"\1", text)
    return re.sub(r"(?<![.!?:\n])\n(?=[a-zäöüß(])", " ", text)
