"""Encodes many short texts, each once: with gigatoken where it is installed and proven equal, else with tokenizers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol

import numpy as np
from tokenizers import Tokenizer as Engine

from metier.core import extras
from metier.text.digits import Apart, between_digits

_EVERY = 128
"""One piece in so many is encoded by both libraries, beyond those of the first check."""

_FIRST = 512
"""Pieces of the user's own that both encode before the second library is trusted."""

_PROBES = (
    "", " ", "  ", "\n", "\n\n\n", " \n \t x", "a  b   c    d", "trailing  ", "\u00a0\u2003\u3000x", "\r\n\r\n",
    "I'm we'LL they'Ve 'S", "1234567890 12,345.67 1e-9 ½ ٣٤", "e\u0301 \u00e9 a\u0308\u0323 \u1e69", "ﬁ Å Å ǆ",
    "日本語のテキスト、中文。한국어", "עברית العربية हिन्दी ไทย", "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏽 ☕️", "\u200b\u200d\ufeff\u2060",
    "\x00\x01\x7f\x85\u2028\u2029", "<| |> </s> <s> [INST] <0x0A> ▁ ▁▁a Ġ Ċ", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 \U0010ffff \ue000",
    "camelCase snake_case UPPER x=y+1; /* c */ #tag @me https://a.b/?q=1&r=%20", "ß ẞ İ ı ſ Σς", "\t\tif x:\n\t\t\ty",
    "\ufffd", "...!!!???---___", "a" * 300, " " * 200, "\n" * 90, "ab" * 200,
)  # fmt: skip
"""What tokenizers disagree about: white space, digits, contractions, combining marks, scripts, emoji, control codes."""


class Unequal(Exception):
    """The faster library gave other ids for a text; its message shows which."""


@dataclass(slots=True)
class Encoded:
    """The ids of P texts one after another: `ids` int32 [N]; text i is `ids[offsets[i]:offsets[i+1]]`."""

    ids: np.ndarray
    offsets: np.ndarray

    def of(self, number: int) -> np.ndarray:
        """Return the ids of one text, as a view."""
        return self.ids[self.offsets[number] : self.offsets[number + 1]]


@dataclass(slots=True)
class Table:
    """Texts to encode, each once; `numbers` gives their places."""

    numbers: dict[str, int] = field(default_factory=dict)

    def place(self, text: str) -> int:
        """Return the number of a text, which is encoded with the others later."""
        return self.numbers.setdefault(text, len(self.numbers))

    def places(self, texts: Sequence[str]) -> list[int]:
        """Return the numbers of many texts."""
        numbers = self.numbers
        return [numbers.setdefault(text, len(numbers)) for text in texts]


class Encoder(Protocol):
    """Turns texts into ids, control tokens recognised."""

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode texts.

        Raises:
            Unequal: this library does not agree with the base's own tokenizer.
        """


class Slow:
    """The base's own tokenizer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode texts."""
        lists = [encoding.ids for encoding in self._engine.encode_batch_fast(list(texts), add_special_tokens=False)]
        lengths = np.fromiter(map(len, lists), np.int64, len(lists))
        ids = np.fromiter(chain.from_iterable(lists), np.int32, int(lengths.sum()))
        return Encoded(ids, np.concatenate(([0], np.cumsum(lengths))))


class Fast:
    """gigatoken, held against the base's own tokenizer: on probes, on the first pieces, and on one in 128 ever after.

    Args:
        engine: the base's own tokenizer.
        parallel: use its thread pool; None: unless this process is a fork, in which the pool's threads are missing.

    Raises:
        Unequal: it cannot read this tokenizer.
    """

    def __init__(self, engine: Engine, *, parallel: bool | None) -> None:
        gigatoken: Any = extras.load("gigatoken", "fast")
        self._slow = Slow(engine)
        self._parallel = parallel
        self._checked = 0
        between = between_digits(engine)
        self._whole = between.whole if between else None
        try:
            self._library = gigatoken.Tokenizer(between.engine if between else engine)
        except (RuntimeError, ValueError, TypeError) as error:
            raise Unequal(f"gigatoken cannot read this tokenizer ({str(error).splitlines()[0]})") from error

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode texts, a part of them twice."""
        found = self._encode(texts)
        first = max(0, _FIRST - self._checked)
        numbers = [*range(min(first, len(texts))), *range(first, len(texts), _EVERY)]
        if not self._checked:
            self._compare_probes(texts[:8])
        self._compare([texts[number] for number in numbers], [found.of(number) for number in numbers])
        self._checked += len(numbers)
        return found

    def _encode(self, texts: Sequence[str]) -> Encoded:
        apart = None if self._whole is None else Apart(texts, self._whole)
        array = self._library.encode_batch(apart.pieces if apart else list(texts), parallel=self._parallel)
        layout = array.layout.to_packed()
        ids, offsets = np.asarray(layout.content.data).astype(np.int32), np.asarray(layout.offsets.data)
        return Encoded(*(apart.joined(ids, offsets) if apart else (ids, offsets)))

    def _compare_probes(self, texts: Sequence[str]) -> None:
        """Try what tokenizers disagree about, alone and behind the beginnings of the user's own pieces."""
        openings = ("", *dict.fromkeys(text[: len(text) // 2] for text in texts))
        probes = [opening + probe for opening in openings for probe in _PROBES]
        found = self._encode(probes)
        self._compare(probes, [found.of(number) for number in range(len(probes))])

    def _compare(self, texts: Sequence[str], found: Sequence[np.ndarray]) -> None:
        wanted = self._slow.encode(texts)
        for number, text in enumerate(texts):
            if not np.array_equal(wanted.of(number), found[number]):
                raise Unequal(f"gigatoken encodes {text[:40]!r} otherwise than the base's tokenizer")
