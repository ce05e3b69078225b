"""Documents in rows: blocks of text below their headings, packed up to a size without crossing a section."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from metier.prepare.reading.settings import ChunkSettings

_SENTENCE_END = re.compile(r"(?<=[.!?。！？…])[\"'”’)\]]*\s+")
_BETWEEN = "\n\n"


class Block(NamedTuple):
    """A paragraph or a list's entry. `headings` from the outermost in; `line` (or page) where it stands."""

    headings: tuple[str, ...]
    text: str
    line: int


class Chunk(NamedTuple):
    """A row's worth of a document."""

    headings: tuple[str, ...]
    text: str
    line: int


def chunks(blocks: Iterable[Block], settings: ChunkSettings) -> Iterator[Chunk]:
    """Yield rows of at most `settings.size` characters, headings included; each stays below one heading."""
    for headings, section in groupby(blocks, key=lambda block: block.headings):
        above = " > ".join(headings) + _BETWEEN if headings and settings.headings else ""
        if len(above) > settings.size // 2:
            above = above[: settings.size // 2 - len(_BETWEEN)] + _BETWEEN
        room = settings.size - len(above)
        pieces = [piece for block in section for piece in _pieces(block, room - settings.overlap)]
        for line, text in _packed(pieces, room, settings.overlap):
            yield Chunk(headings, above + text, line)


def _pieces(block: Block, most: int) -> Iterator[tuple[int, str]]:
    """Cut a block that is too long at ends of sentences, a sentence that is at spaces, a word that is anywhere."""
    if len(block.text) <= most:
        yield block.line, block.text
        return
    held = ""
    for sentence in _SENTENCE_END.split(block.text):
        for part in _cut(sentence, most):
            if held and len(held) + 1 + len(part) > most:
                yield block.line, held
                held = ""
            held = f"{held} {part}" if held else part
    if held:
        yield block.line, held


def _cut(text: str, most: int) -> Iterator[str]:
    while len(text) > most:
        space = text.rfind(" ", most // 2, most)
        end = space if space > 0 else most
        yield text[:end]
        text = text[end:].lstrip()
    if text:
        yield text


def _packed(pieces: Sequence[tuple[int, str]], room: int, overlap: int) -> Iterator[tuple[int, str]]:
    held, first = "", 0
    for line, text in pieces:
        if held and len(held) + len(_BETWEEN) + len(text) > room:
            yield first, held
            tail = _tail(held, min(overlap, room - len(_BETWEEN) - len(text)))
            held, first = (f"{tail}{_BETWEEN}{text}" if tail else text), line
        else:
            held, first = (f"{held}{_BETWEEN}{text}", first) if held else (text, line)
    if held:
        yield first, held


def _tail(text: str, most: int) -> str:
    """Return the end of a text from a word's start on."""
    if most <= 0:
        return ""
    cut = text[-most:]
    space = re.search(r"\s", cut)
    return cut[space.end() :] if space and len(text) > most else cut if len(text) <= most else ""
