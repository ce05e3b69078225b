"""Plain linear layers, computed by the faster library; gradients of whole weights, added up where they lie.

Autograd gives each use of a weight a gradient in new memory, and adds them up afterwards: of a step in several
micro-batches that is three times the traffic, and of an embedding a matrix of zeros as large as the vocabulary each
time. Products can add to what is there in the same call (Shoeybi et al. 2019, as Megatron-LM fuses it).

Shapes: N = tokens, I = inputs, O = outputs, V = vocabulary, E = hidden width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeGuard

import torch
from torch.nn.functional import embedding

from metier.model.autocast import is_autocast
from metier.model.product import add_product, is_wide, multiply

_DEVICES = ("cpu", "meta")
"""Where it is done: on GPUs products run in another type than the weights, whose gradients need a copy anyway."""


@contextmanager
def quick(model: torch.nn.Module) -> Iterator[None]:
    """Let plain linear layers in float32 be computed by the library that is faster here, inside the block."""
    found = [layer for layer in model.modules() if type(layer) is torch.nn.Linear] if is_wide() else []
    for layer in found:
        layer.__class__ = _QuickLinear
    try:
        yield
    finally:
        for layer in found:
            layer.__class__ = torch.nn.Linear


@contextmanager
def summed(model: torch.nn.Module) -> Iterator[None]:
    """Let the plain linear layers and embeddings that train add to their gradients inside the block.

    Only `backward` is served so: `torch.autograd.grad` finds no gradient of these weights.

    Args:
        model: layers of a class of their own, in which nothing trains, or whose weight has a hook that waits for its
            gradient, are left as they are.
    """
    found = [(layer, type(layer)) for layer in model.modules() if type(layer) in _KINDS and _adds(layer)]
    for layer, kind in found:
        layer.__class__ = _KINDS[kind]
    try:
        yield
    finally:
        for layer, kind in found:
            layer.__class__ = kind


def is_plain(layer: torch.nn.Module | None) -> TypeGuard[torch.nn.Linear]:
    """Tell whether a layer is a linear one of the library's own and nothing else."""
    return type(layer) in (torch.nn.Linear, _QuickLinear, _SummedLinear)


def is_summed(layer: torch.nn.Module) -> bool:
    """Tell whether a layer adds to its gradient now."""
    return isinstance(layer, (_SummedLinear, _SummedEmbedding)) and not is_autocast(layer.weight.device.type)


def _adds(layer: torch.nn.Module) -> bool:
    weight = layer.weight
    if not (isinstance(weight, torch.nn.Parameter) and weight.requires_grad and weight.device.type in _DEVICES):
        return False
    if weight._backward_hooks or weight._post_accumulate_grad_hooks:
        return False
    if isinstance(layer, torch.nn.Embedding):
        return layer.max_norm is None and not layer.scale_grad_by_freq and not layer.sparse
    return True


class _Product(torch.autograd.Function):
    """x W.T + b."""

    @staticmethod
    def forward(
        context: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, adds: bool
    ) -> torch.Tensor:
        """Return y [..., O] of x [..., I], weight [O, I] and bias [O]; `adds`: to the weight's gradient where it lies.

        Of a frozen weight's x nothing is kept. What is added to is remembered by itself: under gradient checkpointing a
        saved tensor comes back as another one.
        """
        context.leaf, context.shape = weight if adds else None, x.shape
        context.save_for_backward(x if context.needs_input_grad[1] else None, weight)
        found = multiply(x.reshape(-1, x.shape[-1]), weight, bias).view(*x.shape[:-1], -1)
        return found.data  # no view for autograd: adapters of PEFT add to it in place

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # pyrefly: ignore
        """Return the gradients of x, of the weight (unless it is added to where it lies) and of b."""
        x, weight = context.saved_tensors
        flat, to_x, to_weight = gradient.reshape(-1, gradient.shape[-1]), None, None
        if context.needs_input_grad[0]:
            to_x = multiply(flat, weight.T).view(context.shape)
        if context.needs_input_grad[1]:
            to_weight = torch.zeros_like(weight) if context.leaf is None else _sum(context.leaf)
            add_product(to_weight, flat.T, x.reshape(-1, x.shape[-1]))
        to_bias = flat.sum(dim=0) if context.needs_input_grad[2] else None
        return to_x, to_weight if context.leaf is None else None, to_bias, None


class _Rows(torch.autograd.Function):
    """Rows of a matrix."""

    @staticmethod
    def forward(context: Any, weight: torch.Tensor, ids: torch.Tensor, padding: int | None) -> torch.Tensor:
        """Return the rows [..., E] of weight [V, E] that ids [...] name; `padding` names the one that never learns."""
        context.save_for_backward(ids)
        context.leaf, context.padding = weight, padding
        return embedding(ids, weight)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[None, None, None]:  # pyrefly: ignore
        """Add the gradients of the rows to where that of the weight lies."""
        (ids,) = context.saved_tensors
        places, rows = ids.reshape(-1), gradient.reshape(-1, gradient.shape[-1])
        if context.padding is not None:
            rows = rows.masked_fill((places == context.padding)[:, None], 0.0)
        _sum(context.leaf).index_add_(0, places, rows)
        return None, None, None


def _sum(weight: torch.Tensor) -> torch.Tensor:
    """Return the gradient of a weight, to be added to."""
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad


class _QuickLinear(torch.nn.Linear):
    """A linear layer whose products are computed by the faster library."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the layer's output, [..., O]."""
        alike = input.dtype == self.weight.dtype == torch.float32 and input.device.type == "cpu"
        if not alike or is_autocast("cpu"):
            return super().forward(input)
        return _Product.apply(input, self.weight, self.bias, False)


class _SummedLinear(torch.nn.Linear):
    """A linear layer whose weight's gradient is added up where it lies."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the layer's output, [..., O]."""
        if not is_summed(self) or not torch.is_grad_enabled() or input.dtype != self.weight.dtype:
            return super().forward(input)
        return _Product.apply(input, self.weight, self.bias, True)


class _SummedEmbedding(torch.nn.Embedding):
    """An embedding whose gradient is added up where it lies."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the rows that are asked for, [..., E]."""
        if not is_summed(self) or not torch.is_grad_enabled():
            return super().forward(input)
        return _Rows.apply(self.weight, input, self.padding_idx)


_KINDS: dict[type[torch.nn.Module], type[torch.nn.Module]] = {
    torch.nn.Linear: _SummedLinear,
    _QuickLinear: _SummedLinear,
    torch.nn.Embedding: _SummedEmbedding,
}
