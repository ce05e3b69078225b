"""Randomness as a function of names, never of history: the same key gives the same numbers after any restart."""

import hashlib

import numpy as np


def key(*parts: int | str) -> int:
    """Return a 63-bit seed that is a function of `parts` alone."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*parts: int | str) -> np.random.Generator:
    """Return a counter-based (Philox) generator keyed by `parts`."""
    return np.random.Generator(np.random.Philox(key(*parts)))


def permutation(count: int, *parts: int | str) -> np.ndarray:
    """Return a permutation of `range(count)`, int64 [count], keyed by `parts`."""
    return generator(*parts).permutation(count)


def unit(*parts: int | str) -> float:
    """Return a number in [0, 1) keyed by `parts`: the place of a name on a line, stable for ever."""
    return key(*parts) / float(1 << 63)
