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
    """Blocks [layers, 2, K, BLOCK, D] within a number of bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._blocks: OrderedDict[bytes, torch.Tensor] = OrderedDict()

    @property
    def size(self) -> int:
        """Memory that the blocks take."""
        return self._bytes

    def __contains__(self, name: bytes) -> bool:
        """Tell whether a block is there."""
        return name in self._blocks

    def find(self, wanted: Sequence[bytes]) -> list[torch.Tensor]:
        """Return the blocks that are there, up to the first that is not."""
        found = []
        for name in wanted:
            block = self._blocks.get(name)
            if block is None:
                break
            found.append(block)
        for name in reversed(wanted[: len(found)]):  # a block is never younger than what hangs from it
            self._blocks.move_to_end(name)
        return found

    def keep(self, name: bytes, block: torch.Tensor) -> None:
        """Keep a copy of a block; the least recently used make room."""
        size = block.numel() * block.element_size()
        if name in self._blocks or size > self._most:
            return
        while self._bytes + size > self._most:
            _, gone = self._blocks.popitem(last=False)
            self._bytes -= gone.numel() * gone.element_size()
        self._blocks[name] = block.clone()
        self._bytes += size

    def forget(self) -> None:
        """Drop everything."""
        self._blocks.clear()
        self._bytes = 0
