"""A frozen linear layer that keeps its weights in fewer bits and makes them anew for each product.

Shapes: N = tokens, I = inputs, O = outputs of the layer.
"""

from typing import Any

import torch

from metier.model.autocast import is_autocast
from metier.model.product import multiply


class Unpacked(torch.nn.Module):
    """`x @ W.T + bias`; W is unpacked for each pass and thrown away; computes gradients of x, never of W."""

    bias: torch.nn.Parameter
    """[O], or None: declared as torch declares that of a linear layer."""

    def weight_in(self, dtype: torch.dtype) -> torch.Tensor:
        """Return the weights as they count, [O, I], in a type; writing to them is not allowed."""
        raise NotImplementedError

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return [..., O] of input [..., I], in the number format that a plain linear layer would answer in."""
        return _Product.apply(input, self)

    @property
    def is_computed(self) -> bool:
        """Tell whether it is computed where the layer is: everywhere."""
        return True

    def ahead(self, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return the layer's output [N, O] of x [N, I], without an autograd graph; a new tensor."""
        return multiply(x.to(dtype), self.weight_in(dtype), None if self.bias is None else self.bias.to(dtype))

    def back(self, gradient: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return the gradient [N, I] of the input from that of the output [N, O]; a new tensor."""
        return multiply(gradient.to(dtype), self.weight_in(dtype).T)


class _Product(torch.autograd.Function):
    """The product and its gradient; the unpacked weights are made again for the backward pass, never kept."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layer: Unpacked) -> torch.Tensor:
        ctx.layer, ctx.dtype, ctx.shape = layer, x.dtype, x.shape
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if is_autocast(kind) else x.dtype
        found = layer.ahead(x.reshape(-1, x.shape[-1]), dtype)
        return found.view(*x.shape[:-1], -1).data  # no view for autograd: adapters of PEFT add to it in place

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient = gradients[0].reshape(-1, gradients[0].shape[-1])
        return ctx.layer.back(gradient, gradient.dtype).view(ctx.shape).to(ctx.dtype), None
