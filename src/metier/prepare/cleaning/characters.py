"""Repairs characters that nobody sees and space that nobody means."""

import re
import unicodedata

UNICODE_REASON = "invisible or exotic characters"
WHITESPACE_REASON = "space that means nothing"

_LINE_ENDS = re.compile("\r\n?")
_BREAKS = re.compile("[\x0b\x0c\x85\u2028\u2029]")
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f]")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]"
    "|(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0000-\U000e007f]+"
)
"""Not the joiners, which Indic and Persian spelling and emoji need, nor the tags behind a flag."""

_ASCII_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)
_EMPTY_LINES = re.compile(r"\n{4,}")
_INDENTED = re.compile(r"\s*\n?(?:  |\t)[^\n]*\n")


def composed(text: str) -> str:
    """Return the text in NFC without invisible characters, with plain spaces and line breaks."""
    if text.isascii():
        if _ASCII_CONTROL.search(text) is None:
            return text
    elif not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    return _INVISIBLE.sub("", _SPACES.sub(" ", _BREAKS.sub("\n", text)))


def tidied(text: str) -> str:
    """Return the text with plain line ends and no space that stands for nothing; indented code keeps its first line."""
    if "\r" in text:
        text = _LINE_ENDS.sub("\n", text)
    if "\n" in text:
        text = _EMPTY_LINES.sub("\n\n\n", _TRAILING.sub("", text))
    if _INDENTED.match(text):
        return text.strip("\n").rstrip()
    return text.strip()
