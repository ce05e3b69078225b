"""A frozen linear layer in int8: weights per output channel, activations and gradients per token, exact integer sums.

Shapes: N = tokens, I = inputs, O = outputs of the layer.
"""

from typing import Any

import torch
from torch.nn.functional import linear

from metier.model.autocast import is_autocast

LEAST_FEATURES = 8
"""Narrower layers stay as they are: `torch._int_mm` is wrong for a layer of one input (torch 2.13, CPU)."""

_DEVICES = ("cpu", "meta")
_LEVELS = 127
_ROWS = 512
"""Rows computed at once: their sums stay in the cache until they are scaled (measured best of 64 to 2,048)."""


class Int8Linear(torch.nn.Module):
    """`x @ W.T + bias` with W as int8 [O, I] times a scale float32 [O]; computes gradients of x, never of W.

    Every weight is rounded to one of 255 steps of its row's largest, every input likewise over its token's largest.
    One layout of W serves both directions: the backward pass folds the scales into the gradient before rounding it.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        codes, scale = rounded(weight.detach().float())
        self.codes = torch.nn.Parameter(codes, requires_grad=False)
        self.scale = torch.nn.Parameter(scale[:, 0].contiguous(), requires_grad=False)
        self.bias = None if bias is None else torch.nn.Parameter(bias.detach().clone(), requires_grad=False)

    @property
    def weight(self) -> torch.Tensor:
        """The weights as they count, float32 [O, I]; a copy: writing to it changes nothing."""
        return self.codes * self.scale[:, None]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return [..., O] of x [..., I], in the number format that a plain linear layer would answer in."""
        if x.device.type not in _DEVICES:
            # the integer kernels of GPUs refuse shapes that occur: the same weights, unrounded x
            return linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))
        flat = x.reshape(-1, self.in_features)
        output = _Product.apply(flat, self.codes, self.scale).view(*x.shape[:-1], self.out_features)
        return output if self.bias is None else output + self.bias.to(output.dtype)

    @property
    def is_computed(self) -> bool:
        """Tell whether products are computed in int8 where the layer is."""
        return self.codes.device.type in _DEVICES

    def ahead(self, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return the layer's output [N, O] of x [N, I], without an autograd graph; a new tensor."""
        output = product(x, self.codes.t(), dtype).mul_(self.scale)
        return output if self.bias is None else output.add_(self.bias.to(dtype))

    def back(self, gradient: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return the gradient [N, I] of the input from that of the output [N, O]; a new tensor."""
        return product(gradient * self.scale, self.codes, dtype)


class _Product(torch.autograd.Function):
    """The product and its gradient; of the activations nothing is kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(codes, scale)
        ctx.dtype = x.dtype
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if is_autocast(kind) else x.dtype
        return product(x, codes.t(), dtype).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        codes, scale = ctx.saved_tensors
        return product(gradients[0] * scale, codes, ctx.dtype), None, None


def product(x: torch.Tensor, codes: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return x [N, I] @ codes int8 [I, O] in `dtype`, x rounded row by row, a block of rows at a time."""
    output = x.new_empty(len(x), codes.shape[1], dtype=dtype)
    for rows, block in zip(x.split(_ROWS), output.split(_ROWS), strict=True):
        tokens, step = rounded(rows)
        torch.mul(torch._int_mm(tokens, codes), step, out=block)
    return output


def rounded(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round each row to 255 steps: int8 [N, I] and the step float32 [N, 1] (1 for a row of zeros)."""
    step = rows.abs().amax(dim=1, keepdim=True).float().div_(_LEVELS)
    step.masked_fill_(step == 0, 1.0)
    return (rows * step.reciprocal()).round_().to(torch.int8), step
