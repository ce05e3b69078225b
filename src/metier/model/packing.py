"""Weights that do not change, in the order in which oneDNN multiplies: faster products on x86 CPUs.

With weights in their own order every product first copies them into the kernel's. For few rows that is half of the
work, for a thousand rows still a tenth, forwards and backwards (docs/log.md). More copies in memory are the price.

Shapes: N = rows, I = inputs, O = outputs.
"""

import platform
from dataclasses import dataclass

import torch

_TYPES = {torch.float32, torch.bfloat16}

_FINE, _COARSE, _FEW = 16, 64, 256
"""Rows are rounded up to whole sixteens, above 256 to whole 64s."""


def is_possible(dtype: torch.dtype) -> bool:
    """Tell whether this machine's CPU computes products of this type so."""
    x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return dtype in _TYPES and x86 and torch.backends.mkldnn.is_available()


def can_pack(weight: torch.Tensor, dtype: torch.dtype) -> bool:
    """Tell whether products with a weight in this type can be computed so."""
    return weight.device.type == "cpu" and weight.dtype in _TYPES and is_possible(dtype)


def reordered(weight: torch.Tensor, rows: int) -> torch.Tensor:
    """Return weight [O, I] in the kernel's order, chosen for products with about so many rows."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), rows)


def product(x: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return x [..., I] times a reordered weight [O, I], plus bias [O]: [..., O]. Knows no gradient."""
    rows = x.numel() // x.shape[-1]
    spare = room(rows) - rows
    if spare == 0:
        return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    wide = torch.nn.functional.pad(x.reshape(rows, x.shape[-1]), (0, 0, 0, spare))
    found = torch.ops.mkldnn._linear_pointwise(wide, packed, bias, "none", [], "")
    return found[:rows].view(*x.shape[:-1], found.shape[-1])


def room(rows: int) -> int:
    """Return with how many rows a product is computed: at least so many.

    oneDNN compiles a kernel for every number of rows and keeps it: prompts, or micro-batches, of every length cost
    500 MiB on a model of 15 million, which grow for a quarter of an hour (docs/log.md).
    """
    step = 1 if rows <= _FINE else _FINE if rows <= _FEW else _COARSE
    return -(-rows // step) * step


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
