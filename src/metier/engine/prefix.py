"""Beginnings that were computed before: keys and values in blocks, found by the tokens they stand for.

A block is named by everything before it and by its own tokens, so that equal beginnings are kept once, and by whose
they are: an adapter's keys are its own, unless it changes none. The least recently used go first.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch

BLOCK = 32
"""Tokens of a block."""


def names(ids: Sequence[int], owner: str) -> list[bytes]:
    """Return the name of every whole block of some tokens."""
    name, found = owner.encode(), []
    for start in range(0, len(ids) - BLOCK + 1, BLOCK):
        name = following(name, ids[start : start + BLOCK])
        found.append(name)
    return found


def following(name: bytes, tokens: Sequence[int]) -> bytes:
    """Return the name of the block of these tokens behind the block of that name."""
    return hashlib.blake2b(name + b"\0" + np.asarray(tokens, np.int64).tobytes(), digest_size=16).digest()


class PrefixCache:
    """Blocks [layers, 2, K, BLOCK, D], all alike, within a number of bytes.

    They lie in one piece of memory: blocks that came and went each by itself would leave holes between them that the
    process never gives back, of half the size of the cache.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._store: torch.Tensor | None = None
        self._free: list[int] = []
        self._places: OrderedDict[bytes, int] = OrderedDict()

    @property
    def size(self) -> int:
        """Memory that the blocks take."""
        return len(self._places) * self._store[0].nbytes if self._store is not None else 0

    def __contains__(self, name: bytes) -> bool:
        """Tell whether a block is there."""
        return name in self._places

    def find(self, wanted: Sequence[bytes]) -> list[torch.Tensor]:
        """Return the blocks that are there, up to the first that is not; to be copied before another one is kept."""
        found = []
        for name in wanted:
            place = self._places.get(name)
            if place is None or self._store is None:
                break
            found.append(self._store[place])
        for name in reversed(wanted[: len(found)]):  # a block is never younger than what hangs from it
            self._places.move_to_end(name)
        return found

    def keep(self, name: bytes, block: torch.Tensor) -> None:
        """Keep a copy of a block; the least recently used make room."""
        count = self._most // block.nbytes
        if name in self._places or count == 0:
            return
        if self._store is None:  # takes memory as it is written to
            self._store = block.new_empty(count, *block.shape)
            self._free = list(range(count - 1, -1, -1))
        place = self._free.pop() if self._free else self._places.popitem(last=False)[1]
        self._store[place] = block
        self._places[name] = place
