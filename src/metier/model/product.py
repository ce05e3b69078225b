"""Products of float32 matrices on CPUs with 512-bit registers: oneDNN uses them on all, torch's MKL on Intel's alone.

On the others its products run at half of the machine (docs/log.md). Nothing here knows a gradient.

Shapes: N = rows, I = inputs, O = outputs.
"""

import platform
from functools import cache

import torch
from torch.nn.functional import linear, pad

_LEAST_WORK = 1 << 21
"""Multiplications and additions of a product that pay the call."""

_FINE, _COARSE, _FEW = 16, 64, 256
"""Rows are rounded up to whole sixteens, above 256 to whole 64s."""


def is_there() -> bool:
    """Tell whether this machine's CPU can be served by oneDNN."""
    return platform.machine().lower() in {"x86_64", "amd64"} and torch.backends.mkldnn.is_available()


@cache
def is_wide() -> bool:
    """Tell whether this machine's CPU has the registers."""
    return is_there() and torch.backends.cpu.get_cpu_capability() == "AVX512"


def room(rows: int) -> int:
    """Return with how many rows a product is computed: at least so many.

    oneDNN compiles a kernel for every number of rows and keeps it: prompts, or micro-batches, of every length cost
    500 MiB on a model of 15 million, which grow for a quarter of an hour (docs/log.md).
    """
    step = 1 if rows <= _FINE else _FINE if rows <= _FEW else _COARSE
    return -(-rows // step) * step


def onednn(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return x [N, I] times weight [O, I] transposed, plus bias [O]: [N, O]; a weight as it is or reordered."""
    spare = room(len(x)) - len(x)
    if spare == 0:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return torch.ops.mkldnn._linear_pointwise(pad(x, (0, 0, 0, spare)), weight, bias, "none", [], "")[: len(x)]


def multiply(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return x [N, I] times weight [O, I] transposed, plus bias [O]: [N, O], by what is faster here."""
    return onednn(x, weight, bias) if _pays(x, weight.shape[0]) else linear(x, weight, bias)


def add_product(target: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """Add left [O, N] times right [N, I] to target [O, I], in the target's type."""
    whole = 0
    if _pays(left, right.shape[1]) and left.dtype == target.dtype:
        whole = len(right) // _COARSE * _COARSE  # the rest is too narrow to have a kernel of its own
    if whole:
        target.add_(torch.ops.mkldnn._linear_pointwise(left[:, :whole], right[:whole].T, None, "none", [], ""))
    if whole == len(right):
        return
    if left.dtype == target.dtype:
        target.addmm_(left[:, whole:], right[whole:])
    else:
        target.add_(left @ right)


def _pays(x: torch.Tensor, outputs: int) -> bool:
    known = x.device.type == "cpu" and x.dtype == torch.float32
    return known and 2 * x.numel() * outputs >= _LEAST_WORK and is_wide()
