"""What a model learnt by heart: how exposed a planted secret is, and personal data that turns up again."""

import math
import re
import string
from collections.abc import Iterable, Sequence

from metier.core import seeds

_PERSONAL = (
    re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w"),
    re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?(?!\w)"),
    re.compile(r"(?<!\w)\+?\d(?:[ ().-]{0,2}\d){8,14}(?!\w)"),
)
"""E-mail addresses; IBANs; telephone, card and account numbers. What one has found the next does not see."""


def alternatives(secret: str, count: int, seed: int = 0) -> list[str]:
    """Return other secrets of the same shape: digits for digits, letters for letters, all different."""
    random = seeds.generator("canary", seed, len(secret))
    found: dict[str, None] = {}
    for _ in range(20 * count):
        drawn = "".join(_like(sign, int(random.integers(0, 1 << 30))) for sign in secret)
        if drawn != secret:
            found.setdefault(drawn)
        if len(found) == count:
            break
    return list(found)


def exposure(nats: Sequence[float]) -> float:
    """Return the exposure of a secret in bits (N. Carlini et al. 2019): log2 candidates − log2 its rank among them.

    Args:
        nats: the surprise of the secret, then that of every alternative. Without any memory it is about 1.4 bits on
            average, and more than b bits with probability 2^-b.
    """
    rank = 1 + sum(other <= nats[0] for other in nats[1:])
    return math.log2(len(nats)) - math.log2(rank)


def chance_of(bits: float) -> float:
    """Return the probability of an exposure of at least so many bits without any memory."""
    return min(1.0, 2.0**-bits)


def personal(texts: Iterable[str]) -> set[str]:
    """Return the addresses and numbers of people that stand in texts, without spaces and case."""
    found = set()
    for text in texts:
        rest = text
        for pattern in _PERSONAL:
            found.update(pattern.findall(rest))
            rest = pattern.sub(" ", rest)
    return {each.casefold() if "@" in each else re.sub(r"[\s().-]", "", each).casefold() for each in found}


def _like(sign: str, drawn: int) -> str:
    for letters in (string.digits, string.ascii_lowercase, string.ascii_uppercase):
        if sign in letters:
            return letters[drawn % len(letters)]
    return sign
