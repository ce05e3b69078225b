"""A frozen linear layer in four bits (NF4: Dettmers et al. 2023, QLoRA, section 3), through bitsandbytes' kernels.

The library's own layer repacks its weights for bfloat16 when it is first used for inference on some CPUs, and answers
otherwise from then on. This one keeps one layout, so that what is validated is what trains.

Shapes: I = inputs, O = outputs of the layer, B = I * O / 64 blocks.
"""

from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch.nn.functional import linear

from metier.model.product import multiply

LIBRARY = "bitsandbytes"
EXTRA = "qlora"
_BLOCK = 64
_BLOCKS_TOGETHER = 256


class Nf4Linear(torch.nn.Module):
    """`x @ W.T + bias` with W as packed four-bit codes and a largest value for each block of 64 weights.

    W is unpacked for each pass and thrown away. With `double` the largest values are themselves stored in eight bits,
    256 of them to a block: 4.13 bits a weight instead of 4.5. On torch's meta device it has its sizes alone, and needs
    no library.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, *, double: bool) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.is_double = double
        for name, tensor in (_sizes if weight.is_meta else _stored)(weight, double):
            self.register_parameter(name, torch.nn.Parameter(tensor, requires_grad=False))
        self.bias = None if bias is None else torch.nn.Parameter(bias.detach().clone(), requires_grad=False)

    @property
    def weight(self) -> torch.Tensor:
        """The weights as they count, float32 [O, I]; a copy: writing to it changes nothing."""
        if self.packed.is_meta:
            return torch.empty(self.out_features, self.in_features, device="meta")
        library = _library()
        largest = self.largest.data
        if self.is_double:
            inner = library.dequantize_blockwise(
                largest, absmax=self.outer_largest.data, code=self.outer_codes.data, blocksize=_BLOCKS_TOGETHER
            )
            largest = inner + self.offset
        shape = torch.Size((self.out_features, self.in_features))
        state = library.QuantState(absmax=largest, shape=shape, dtype=torch.float32, blocksize=_BLOCK, quant_type="nf4")
        return library.dequantize_4bit(self.packed.data, quant_state=state)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return [..., O] of x [..., I]."""
        return _Product.apply(x, self)

    @property
    def is_computed(self) -> bool:
        """Tell whether it is computed where the layer is: everywhere."""
        return True

    def ahead(self, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return the layer's output [N, O] of x [N, I], without an autograd graph; a new tensor."""
        return multiply(x.to(dtype), self.weight.to(dtype), None if self.bias is None else self.bias.to(dtype))

    def back(self, gradient: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return the gradient [N, I] of the input from that of the output [N, O]; a new tensor."""
        return multiply(gradient.to(dtype), self.weight.to(dtype).T)


class _Product(torch.autograd.Function):
    """The product and its gradient; the unpacked weights are made again for the backward pass, never kept."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layer: Nf4Linear) -> torch.Tensor:
        ctx.layer, ctx.dtype = layer, x.dtype
        weight = layer.weight.to(x.dtype)
        return linear(x, weight, None if layer.bias is None else layer.bias.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient = gradients[0]
        return (gradient @ ctx.layer.weight.to(gradient.dtype)).to(ctx.dtype), None


def _stored(weight: torch.Tensor, double: bool) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield what is kept of weights [O, I], by name."""
    packed, state = _library().quantize_4bit(
        weight.detach().float().contiguous(), blocksize=_BLOCK, compress_statistics=double, quant_type="nf4"
    )
    yield from (("packed", packed), ("largest", state.absmax))
    if double:
        yield "offset", state.offset
        yield from (("outer_largest", state.state2.absmax), ("outer_codes", state.state2.code))


def _sizes(weight: torch.Tensor, double: bool) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield what would be kept of weights [O, I], without numbers."""
    blocks = -(-weight.numel() // _BLOCK)
    yield "packed", torch.empty(-(-weight.numel() // 2), 1, dtype=torch.uint8, device="meta")
    yield "largest", torch.empty(blocks, dtype=torch.uint8 if double else torch.float32, device="meta")
    if double:
        yield "offset", torch.empty((), device="meta")
        yield "outer_largest", torch.empty(-(-blocks // _BLOCKS_TOGETHER), device="meta")
        yield "outer_codes", torch.empty(256, device="meta")


def _library() -> ModuleType:
    return import_module(f"{LIBRARY}.functional")
