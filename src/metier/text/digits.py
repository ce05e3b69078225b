"""Tokenizers that set every digit apart and then cut as GPT-2 does (SmolLM, StarCoder, metier-tiny): done in two steps.

A library that knows GPT-2's rule alone can serve them, when it is given what stands between the digits, and each digit.
"""

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from tokenizers import Tokenizer as Engine

_MOST_NUMBER = 1 << 17
"""Unicode has numbers in its first two planes only."""


@dataclass(frozen=True, slots=True)
class Between:
    """A tokenizer as it cuts between digits, and the control tokens with digits in them, which stay whole."""

    engine: Engine
    whole: tuple[str, ...]


def between_digits(engine: Engine) -> Between | None:
    """Take the digits out of a tokenizer's rule; None where it does not cut as described above."""
    data = json.loads(engine.to_str())
    steps = (data.get("pre_tokenizer") or {}).get("pretokenizers") or []
    if data.get("normalizer") is not None or [step["type"] for step in steps] != ["Digits", "ByteLevel"]:
        return None
    first, second = steps[0], steps[1]
    if not first["individual_digits"] or second["add_prefix_space"] or not second["use_regex"]:
        return None
    numbered = [token for token in data["added_tokens"] if any(map(_is_number, token["content"]))]
    if any(token["lstrip"] or token["rstrip"] or token["single_word"] for token in numbered):
        return None
    between = Engine.from_str(json.dumps(data | {"pre_tokenizer": second}))
    return Between(between, tuple(sorted((token["content"] for token in numbered), key=len, reverse=True)))


class Apart:
    """Texts cut before and behind each digit, every different piece once.

    Args:
        texts: of any length.
        whole: what is not cut though there are digits in it.
    """

    def __init__(self, texts: Sequence[str], whole: tuple[str, ...]) -> None:
        table: dict[str, int] = {}
        numbers: list[int] = []
        ends: list[int] = []
        for text in texts:
            pieces = _digits(whole, ascii_only=text.isascii()).split(text)
            numbers += [table.setdefault(piece, len(table)) for piece in pieces if piece]
            ends.append(len(numbers))
        self.pieces = list(table)
        self._numbers = np.asarray(numbers, np.int64)
        self._ends = np.asarray([0, *ends], np.int64)

    def joined(self, ids: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Put the ids of the texts together: their ids, int32 [N], and where each begins and the last ends.

        Args:
            ids: of the pieces, one after another.
            offsets: piece i is `ids[offsets[i]:offsets[i+1]]`.
        """
        counts = (offsets[1:] - offsets[:-1])[self._numbers]
        ends = np.concatenate(([0], np.cumsum(counts)))
        return ids[ranges(offsets[self._numbers], counts)], ends[self._ends]


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the numbers of all ranges one after another."""
    ends = np.cumsum(counts)
    return np.repeat(starts - (ends - counts), counts) + np.arange(int(ends[-1]) if len(ends) else 0)


@cache
def _digits(whole: tuple[str, ...], *, ascii_only: bool) -> re.Pattern[str]:
    """Return a pattern of what is set apart: some texts, and every number of Unicode, also ½ and Ⅳ."""
    numbers = "0-9" if ascii_only else "".join(filter(_is_number, map(chr, range(_MOST_NUMBER))))
    return re.compile(f"({'|'.join([*map(re.escape, whole), f'[{numbers}]'])})")


def _is_number(letter: str) -> bool:
    return unicodedata.category(letter)[0] == "N"
