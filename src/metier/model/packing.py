"""Weights that do not change, in the order in which oneDNN multiplies: faster products on x86 CPUs.

With weights in their own order every product first copies them into the kernel's. For few rows that is half of the
work, for a thousand rows still a tenth, forwards and backwards (docs/log.md). More copies in memory are the price.

Shapes: N = rows, I = inputs, O = outputs.
"""

from dataclasses import dataclass

import torch

from metier.model.product import is_there, onednn

_TYPES = {torch.float32, torch.bfloat16}


def is_possible(dtype: torch.dtype) -> bool:
    """Tell whether this machine's CPU computes products of this type so."""
    return dtype in _TYPES and is_there()


def can_pack(weight: torch.Tensor, dtype: torch.dtype) -> bool:
    """Tell whether products with a weight in this type can be computed so."""
    return weight.device.type == "cpu" and weight.dtype in _TYPES and is_possible(dtype)


def reordered(weight: torch.Tensor, rows: int) -> torch.Tensor:
    """Return weight [O, I] in the kernel's order, chosen for products with about so many rows."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), rows)


def product(x: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return x [..., I] times a reordered weight [O, I], plus bias [O]: [..., O]. Knows no gradient."""
    found = onednn(x.reshape(-1, x.shape[-1]), packed, bias)
    return found.view(*x.shape[:-1], found.shape[-1])


@dataclass(frozen=True, slots=True)
class Packed:
    """A frozen weight, for the way there (x W.T) and the way back (g W), and what it was made of."""

    ahead: torch.Tensor
    back: torch.Tensor
    dtype: torch.dtype
    made_of: tuple[int, int]

    def __deepcopy__(self, memo: object) -> "Packed":
        """Return itself: it cannot be copied, and is not of a copied weight."""
        return self

    def is_of(self, weight: torch.Tensor, dtype: torch.dtype) -> bool:
        """Tell whether this is still that weight, for products in that type."""
        return dtype == self.dtype and self.made_of == _identity(weight)


def pack(weight: torch.Tensor, dtype: torch.dtype, rows: int) -> Packed:
    """Return a weight [O, I] packed both ways for products in a type."""
    narrow = weight.detach().to(dtype)
    return Packed(reordered(narrow, rows), reordered(narrow.T, rows), dtype, _identity(weight))


def _identity(weight: torch.Tensor) -> tuple[int, int]:
    """Return where a weight is and how often it was changed in place."""
    return weight.data_ptr(), weight._version
