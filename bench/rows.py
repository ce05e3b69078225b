"""The rows that every contender trains on: the same tokens in the same steps, as ids and as chat text.

A row is `<|system|> … <|end|> <|user|> … <|end|> <|assistant|> answer <|end|>`; the answer and its end are learnt.
Words are drawn at random: what they mean does not change how long a step takes.
"""

import hashlib
from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np

from bench.shapes import ASSISTANT, END, SPECIAL, SYSTEM, USER, word

ROWS_PER_STEP = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Tokens of each part of a row: `system` shared by every row of the run; `user` and `answer` as (median, spread).

    Lengths are log-normal with that median and that standard deviation of the logarithm, within `bounds`.
    """

    system: int
    user: tuple[float, float]
    answer: tuple[float, float]
    bounds: tuple[int, int]


WORKS = {
    "prompt-heavy": Work(system=512, user=(64, 0.25), answer=(32, 0.25), bounds=(8, 256)),
    "balanced": Work(system=256, user=(128, 0.25), answer=(128, 0.25), bounds=(16, 512)),
    # about Alpaca's lengths in Llama tokens, its fixed preamble left out: nothing but the first marker is shared
    "unshared": Work(system=0, user=(28, 0.6), answer=(55, 0.9), bounds=(4, 512)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A row: `ids` [T], of which those from `answer` on are learnt; and the same row as chat messages."""

    ids: tuple[int, ...]
    answer: int
    messages: tuple[dict[str, str], ...]

    @property
    def labels(self) -> list[int]:
        """Ids with -100 where nothing is learnt, [T]: what a peer calls labels before it shifts them."""
        return [-100] * self.answer + list(self.ids[self.answer :])

    @property
    def weights(self) -> list[float]:
        """1 where a token is learnt, else 0, [T]."""
        return [0.0] * self.answer + [1.0] * (len(self.ids) - self.answer)


def step(work: str, vocabulary: int, number: int, rows: int = ROWS_PER_STEP) -> list[Example]:
    """Return the rows of one step; a function of its arguments alone."""
    settings = WORKS[work]
    place = list(WORKS).index(work)
    words = _words(np.random.default_rng([place, vocabulary]), settings.system, vocabulary)
    random = np.random.default_rng([place, vocabulary, 1 + number])
    lengths = [
        (_length(random, settings, settings.user), _length(random, settings, settings.answer)) for _ in range(rows)
    ]
    return [
        _example(words, _words(random, user, vocabulary), _words(random, answer, vocabulary))
        for user, answer in lengths
    ]


def steps(work: str, vocabulary: int, count: int, rows: int = ROWS_PER_STEP) -> list[list[Example]]:
    """Return the rows of the first `count` steps."""
    return [step(work, vocabulary, number, rows) for number in range(count)]


def digest(examples: Many[Example]) -> str:
    """Name rows by their tokens and labels: contenders that saw the same rows say the same."""
    text = ";".join(f"{example.answer}:{','.join(map(str, example.ids))}" for example in examples)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def unique_tokens(examples: Many[Example]) -> int:
    """Count the tokens in their context, those of a common beginning once: the nodes of the rows' trie."""
    seen: set[tuple[int, int]] = set()
    nodes: dict[tuple[int, int], int] = {}
    for example in examples:
        parent = 0
        for token in example.ids:
            parent = nodes.setdefault((parent, token), len(nodes) + 1)
            seen.add((parent, token))
    return len(seen)


def _length(random: np.random.Generator, work: Work, wanted: tuple[float, float]) -> int:
    median, spread = wanted
    return int(np.clip(round(random.lognormal(np.log(median), spread)), *work.bounds))


def _words(random: np.random.Generator, count: int, vocabulary: int) -> list[int]:
    return random.integers(len(SPECIAL), vocabulary, count).tolist()


def _example(system: list[int], user: list[int], answer: list[int]) -> Example:
    parts = [("system", SYSTEM, system)] if system else []
    parts += [("user", USER, user), ("assistant", ASSISTANT, answer)]
    ids: list[int] = []
    start = 0
    for _, marker, content in parts:
        start = len(ids) + 1
        ids += [marker, *content, END]
    messages = tuple({"role": role, "content": " ".join(map(word, content))} for role, _, content in parts)
    return Example(ids=tuple(ids), answer=start, messages=messages)
