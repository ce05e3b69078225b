"""Keeps what people wrote apart from what the template wrote, so that no text of theirs becomes a control token.

Before rendering, a mark is put inside every special-token string of a row's own text. After rendering, strings that
carry a mark are the row's, strings without one are the template's. The template's are swapped for twins: added tokens
of a second tokenizer that reads special-token strings as plain text. So the whole is encoded in one pass, with all
the base's rules about spaces and first words, and only the twins' ids are mapped back.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Tokenizer

from metier.core.errors import DataError

MARKS = tuple(chr(code) for code in range(0xFDD0, 0xFDE0))
FENCES = tuple(chr(code) for code in range(0xFDE0, 0xFDF0))
"""Code points that Unicode keeps free for uses like these; no text should hold them."""


def pattern(tokens: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds any of the strings, longest first."""
    longest_first = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) if longest_first else r"(?!)")


def strings_in(value: Any) -> Iterable[str]:
    """Yield every string inside a plain value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, entry in value.items():
            yield from strings_in(name)
            yield from strings_in(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from strings_in(entry)


def free_character(candidates: Iterable[str], text: str) -> str:
    """Return a candidate that does not occur in the text, neither as itself nor written as a JSON escape.

    Raises:
        DataError: all of them occur; such a text is not text.
    """
    lowered = text.lower()
    free = next((sign for sign in candidates if sign not in text and _escape(sign) not in lowered), None)
    if free is None:
        raise DataError("a text holds the reserved code points U+FDD0 to U+FDEF", "text without them")
    return free


def not_unicode() -> DataError:
    """Return the error for half a surrogate pair, which the tokenizers library only calls a TypeError."""
    return DataError("a text is not valid Unicode (half a surrogate pair)", "UTF-8 text")


def _escape(sign: str) -> str:
    return f"\\u{ord(sign):04x}"


@dataclass(frozen=True, slots=True)
class Marked:
    """A rendered text in which `mark` (None: nowhere) sits inside every special-token string that the row wrote."""

    text: str
    mark: str | None = None

    @property
    def clean(self) -> str:
        """The text as a reader sees it: without marks, also where a template's JSON filter escaped them."""
        return self.text if self.mark is None else unmarked(self.text, self.mark)


def unmarked(text: str, mark: str) -> str:
    """Return the text without marks."""
    return text.replace(mark, "").replace(_escape(mark), "")


def with_marks(value: Any, special: re.Pattern[str], mark: str) -> Any:
    """Return a copy of a plain value with the mark after the first character of every special-token string in it."""
    if isinstance(value, str):
        return re.sub(f"(?=(?:{special.pattern}))(?s:.)", lambda match: match.group() + mark, value)
    if isinstance(value, Mapping):
        return {with_marks(name, special, mark): with_marks(entry, special, mark) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [with_marks(entry, special, mark) for entry in value]
    return value


class Twins:
    """A tokenizer that reads special-token strings as plain text and knows a twin of each, spelt with `fence`.

    Args:
        source: the tokenizer as JSON.
        special: special-token strings and their ids.
        unknown: the id of unknown characters, which plain text may become.
        fence: a character that does not occur in the texts to encode.
    """

    def __init__(self, source: str, special: Mapping[str, int], unknown: int | None, fence: str) -> None:
        self._tokenizer = Tokenizer.from_str(source)
        self._tokenizer.encode_special_tokens = True
        self._pattern = pattern(special)
        self._names = {content: f"{fence}{number}{fence}" for number, content in enumerate(special)}
        self._break = f"{fence}-{fence}"
        known = {token.content: token for token in self._tokenizer.get_added_tokens_decoder().values()}
        twins = [_twin(known.get(content), name) for content, name in self._names.items()]
        self._tokenizer.add_tokens([*twins, _twin(None, self._break)])
        self._back = {self._tokenizer.token_to_id(name): special[content] for content, name in self._names.items()}
        self._break_id = self._tokenizer.token_to_id(self._break)
        self._control = frozenset(special.values()) - {unknown}

    def encode(self, text: Marked) -> list[int]:
        """Encode: unmarked special-token strings as control tokens, marked ones as plain text."""
        swapped = self._pattern.sub(lambda match: self._names[match.group()], text.text)
        return self._plainly(swapped if text.mark is None else unmarked(swapped, text.mark))

    def encode_plain(self, text: str) -> list[int]:
        """Encode every special-token string as plain text."""
        return self._plainly(text)

    def encode_parts(self, first: Marked, second: Marked) -> list[int]:
        """Encode two texts that follow one another so that no token spans both."""
        return self.encode(Marked(first.text + self._break + second.text, first.mark))

    def _plainly(self, text: str) -> list[int]:
        ids = self._ids(text)
        if not self._control.isdisjoint(ids):  # whole-word vocabularies can still spell a control token in one piece
            ids = self._ids(self._pattern.sub(lambda match: match.group()[0] + self._break + match.group()[1:], text))
        return [self._back.get(number, number) for number in ids if number != self._break_id]

    def _ids(self, text: str) -> list[int]:
        try:
            return self._tokenizer.encode(text, add_special_tokens=False).ids
        except TypeError as error:
            raise not_unicode() from error


def _twin(token: AddedToken | None, name: str) -> AddedToken:
    if token is None:
        return AddedToken(name, normalized=False, special=False)
    sides = {"single_word": token.single_word, "lstrip": token.lstrip, "rstrip": token.rstrip}
    return AddedToken(name, normalized=False, special=False, **sides)
