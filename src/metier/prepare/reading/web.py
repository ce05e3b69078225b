"""HTML as blocks: paragraphs below their headings, without scripts, styles and navigation."""

import re
from html.parser import HTMLParser

from metier.prepare.reading.chunks import Block

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = {"p", "div", "li", "ul", "ol", "table", "tr", "section", "article", "blockquote", "pre", "br", "dt", "dd",
           "td", "th", "figcaption", "header", "main", "body", "title"}  # fmt: skip
_LEFT_OUT = {"script", "style", "nav", "footer", "noscript", "template", "svg", "head"}
_SPACE = re.compile(r"[ \t\r\n\f]+")


class _Reader(HTMLParser):
    """Collects blocks while the parser walks over the tags; never fails, whatever the tags are."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self._path: list[tuple[int, str]] = []
        self._said: list[str] = []
        self._line, self._skipping, self._heading, self._preformatted = 1, 0, 0, 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _LEFT_OUT:
            self._skipping += 1
        elif tag in _HEADINGS:
            self._close()
            self._heading = _HEADINGS[tag]
        elif tag in _BLOCKS:
            self._close()
            self._preformatted += tag == "pre"
            self._said += ["- "] if tag == "li" else []

    def handle_endtag(self, tag: str) -> None:
        if tag in _LEFT_OUT:
            self._skipping = max(0, self._skipping - 1)
        elif tag in _HEADINGS and self._heading:
            title = _SPACE.sub(" ", "".join(self._said)).strip()
            self._said = []
            if title:
                self._path = [each for each in self._path if each[0] < self._heading] + [(self._heading, title)]
            self._heading = 0
        elif tag in _BLOCKS:
            self._close()
            self._preformatted = max(0, self._preformatted - (tag == "pre"))

    def handle_data(self, data: str) -> None:
        if self._skipping:
            return
        if not self._said:
            self._line = self.getpos()[0]
        self._said.append(data if self._preformatted else _SPACE.sub(" ", data))

    def _close(self) -> None:
        text = "".join(self._said)
        text = text.strip("\n") if self._preformatted else text.strip()
        self._said = []
        if text.strip() and text.strip() != "-":
            self.blocks.append(Block(tuple(title for _, title in self._path), text, self._line))

    def finish(self) -> list[Block]:
        self.close()
        self._close()
        return self.blocks


def blocks_of(text: str) -> list[Block]:
    """Return the blocks of an HTML document."""
    reader = _Reader()
    try:
        reader.feed(text)
        return reader.finish()
    except AssertionError:  # what the parser raises on some broken declarations
        return [Block((), re.sub(r"<[^>]*>", " ", text).strip(), 1)]


def text_of(text: str) -> str:
    """Return what an HTML text says, a block a line."""
    return "\n".join(block.text for block in blocks_of(text))
