"""Keys and values of the answers being written: a slot for each, all in one tensor that grows as they do.

Shapes: S = slots, K = key/value heads, L = places of a slot, D = head width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from metier.engine.prefix import BLOCK

_FIRST_PLACES = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Layers with keys and values, heads K and width D of them, alike in all layers; how they are stored."""

    layers: int
    heads: int
    width: int
    dtype: torch.dtype
    device: torch.device

    @property
    def place_bytes(self) -> int:
        """Memory of one token."""
        return 2 * self.layers * self.heads * self.width * self.dtype.itemsize


class Slots:
    """`store` [layers, 2, S, K, L, D].

    Args:
        shape: of keys and values.
        most: most slots.
        budget: most places S * L.
    """

    def __init__(self, shape: Shape, most: int, budget: int) -> None:
        self.shape = shape
        self._most = most
        self._budget = budget
        self._reserved: dict[int, int] = {}
        self.store = self._empty(1, _FIRST_PLACES)

    @property
    def top(self) -> int:
        """First slot above all that are taken."""
        return max(self._reserved, default=-1) + 1

    def fits(self, places: int) -> bool:
        """Tell whether an answer of so many tokens, its prompt included, finds room now."""
        free = self._lowest_free()
        longest = max([places, *self._reserved.values()])
        return free < self._most and max(free + 1, self.top) * longest <= self._budget

    def possible(self, places: int) -> bool:
        """Tell whether it finds room when nobody else is there."""
        return places <= self._budget

    def take(self, places: int) -> int:
        """Take the lowest free slot."""
        slot = self._lowest_free()
        self._reserved[slot] = places
        if slot >= self.store.shape[2]:
            self._grow(min(self._most, max(slot + 1, 2 * self.store.shape[2])), self.store.shape[4])
        return slot

    def free(self, slot: int) -> None:
        """Give a slot back."""
        del self._reserved[slot]

    def reach(self, length: int) -> None:
        """Make every slot long enough."""
        if length > self.store.shape[4]:
            self._grow(self.store.shape[2], max(length, 2 * self.store.shape[4]))

    def fill(self, slot: int, blocks: Sequence[torch.Tensor]) -> None:
        """Put blocks [layers, 2, K, BLOCK, D] at the beginning of a slot."""
        self.reach(len(blocks) * BLOCK)
        for number, block in enumerate(blocks):
            self.store[:, :, slot, :, number * BLOCK : (number + 1) * BLOCK] = block

    def block(self, slot: int, number: int) -> torch.Tensor:
        """Return the block of that number of a slot, as a view."""
        return self.store[:, :, slot, :, number * BLOCK : (number + 1) * BLOCK]

    def gap(self) -> tuple[int, int] | None:
        """Return (highest slot taken, lowest free slot) where more than half of the slots below it are free."""
        return (self.top - 1, self._lowest_free()) if self.top > 2 * len(self._reserved) > 0 else None

    def move(self, source: int, target: int, length: int) -> None:
        """Move an answer of so many tokens to a free slot."""
        self.store[:, :, target, :, :length] = self.store[:, :, source, :, :length]
        self._reserved[target] = self._reserved.pop(source)

    def _lowest_free(self) -> int:
        return next(slot for slot in range(len(self._reserved) + 1) if slot not in self._reserved)

    def _empty(self, slots: int, places: int) -> torch.Tensor:
        shape = self.shape
        size = (shape.layers, 2, slots, shape.heads, places, shape.width)
        return torch.zeros(size, dtype=shape.dtype, device=shape.device)  # what was never written is weighed with 0

    def _grow(self, slots: int, places: int) -> None:
        old = self.store
        self.store = self._empty(slots, places)
        self.store[:, :, : old.shape[2], :, : old.shape[4]] = old
