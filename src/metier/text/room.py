"""How many tokens an answer may take."""

from collections.abc import Iterable

from metier.text.tokenizer import Tokenizer

MOST = 512
"""Tokens of an answer, where nobody sets how long it may be."""


def room(longest: int) -> int:
    """Return how many tokens an answer may take where the longest right one has `longest`: a quarter more."""
    return min(longest + longest // 4 + 8, MOST)


def longest(answers: Iterable[str], tokenizer: Tokenizer) -> int:
    """Return the tokens of the longest of answers; 0 of none."""
    return max((len(tokenizer.encode(answer, special=False)) for answer in answers), default=0)
