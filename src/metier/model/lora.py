"""A LoRA linear in one autograd step: no copy of the output for the scaling, none for the sum, little to remember.

Shapes: N = tokens, I = inputs, O = outputs, R = rank. y = x W.T + b + s (x A.T) B.T (Hu et al. 2021, equation 3).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from peft.tuners.lora.layer import Linear

from metier.core.memory import memory_limit
from metier.model.autocast import is_autocast
from metier.model.linear import is_plain
from metier.model.packing import Packed, can_pack, is_possible, pack, product
from metier.model.product import is_wide, multiply
from metier.model.quantise.freeze import QUANTISED
from metier.model.quantise.int8 import Int8Linear
from metier.model.quantise.unpacked import Unpacked


class Frozen(NamedTuple):
    """What is not learnt: weight W [O, I], bias b [O], the scale s, the type of the products; W packed, if it is.

    `few`: the layer that has W in fewer bits, and b; there is no weight then.
    """

    weight: torch.Tensor | None
    bias: torch.Tensor | None
    scale: float
    dtype: torch.dtype
    packed: Packed | None = None
    few: Int8Linear | Unpacked | None = None


class LoraProduct(torch.autograd.Function):
    """The whole linear with its adapter."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor, frozen: Frozen, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """Return y [..., O] of x [..., I], down A [R, I] and up B [O, R].

        y has the frozen part's type; what is kept for the backward pass is x in that type and the weights as they are.
        """
        weight, bias, scale, dtype, packed, few = frozen
        given = x.reshape(-1, x.shape[-1])
        flat = given.to(dtype)
        shift = None if bias is None else bias.to(dtype)
        if few is not None:
            y = few.ahead(given, dtype)
        elif packed is not None:
            y = product(flat, packed.ahead, shift)
        else:
            assert weight is not None
            y = multiply(flat, weight.to(dtype), shift)
        inner = flat @ down.to(dtype).T
        y.addmm_(inner, up.to(dtype).T, alpha=scale)
        context.save_for_backward(flat, inner, weight, down, up)
        context.scale, context.shape, context.dtype, context.dtype_in = scale, x.shape, dtype, x.dtype
        context.packed, context.few = packed, few
        # A view made in here could not be changed in place by the model, which some do.
        return torch.ops.aten._unsafe_view(y, (*x.shape[:-1], y.shape[-1]))

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # pyrefly: ignore
        """Return the gradients of x, A and B."""
        flat, inner, weight, down, up = context.saved_tensors
        dtype = context.dtype
        g = gradient.reshape(-1, gradient.shape[-1])
        inside = (g @ up.to(dtype)).mul_(context.scale)
        to_x = to_down = to_up = None
        if context.needs_input_grad[0]:
            if context.few is not None:
                through = context.few.back(g, dtype)
            else:
                back = context.packed
                through = multiply(g, weight.to(dtype).T) if back is None else product(g, back.back)
            to_x = through.addmm_(inside, down.to(dtype)).view(context.shape).to(context.dtype_in)
        if context.needs_input_grad[2]:
            to_down = (inside.T @ flat).to(down.dtype)
        if context.needs_input_grad[3]:
            to_up = (inner.T @ g).mul_(context.scale).T.to(up.dtype)
        return to_x, None, to_down, to_up


class LoraLinear(Linear):
    """PEFT's LoRA linear, with the plain case computed in one step; whatever else PEFT offers is left to it."""

    packed: Packed | None = None
    """The base's weight, packed; see `packed_frozen`."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the linear's output with its adapter's share, [..., O]."""
        plain = self._plain(x) if not args and not any(value is not None for value in kwargs.values()) else None
        if plain is None:
            return super().forward(x, *args, **kwargs)
        base = cast("torch.nn.Module", self.base_layer)
        down, up = self.lora_A[plain].weight, self.lora_B[plain].weight
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if is_autocast(kind) else x.dtype
        scale = self.scaling[plain]
        if isinstance(base, QUANTISED):
            return LoraProduct.apply(x, Frozen(None, None, scale, dtype, few=base), down, up)
        assert isinstance(base, torch.nn.Linear)
        packed = self.packed if self.packed is not None and self.packed.is_of(base.weight, dtype) else None
        return LoraProduct.apply(x, Frozen(base.weight, base.bias, scale, dtype, packed), down, up)

    def _plain(self, x: torch.Tensor) -> str | None:
        """Return the name of the only adapter if nothing but x W.T + s (x A.T) B.T is asked for."""
        if self.disable_adapters or self.merged or len(self.active_adapters) != 1:
            return None
        name = self.active_adapters[0]
        if name not in self.lora_A or name in self.lora_variant or self.lora_bias[name]:
            return None
        dropout = self.lora_dropout[name]
        if not isinstance(dropout, torch.nn.Identity) and self.training:
            return None
        return name if self._is_alike(x, name) else None

    def _is_alike(self, x: torch.Tensor, name: str) -> bool:
        """Tell whether the base is frozen and of one type with x and the adapter, or autocast makes it so."""
        base = cast("torch.nn.Module", self.base_layer)
        alike = x.dtype == self.lora_A[name].weight.dtype
        if isinstance(base, QUANTISED):
            return base.is_computed and (alike or is_autocast(x.device.type))
        if not is_plain(base) or any(weight.requires_grad for weight in base.parameters()):
            return False
        return (alike and x.dtype == base.weight.dtype) or is_autocast(x.device.type)


CUSTOM_MODULES: dict[type[torch.nn.Module], type[torch.nn.Module]] = {torch.nn.Linear: LoraLinear}
"""For `LoraConfig._register_custom_module`, PEFT's own way of bringing a layer class."""


_ROWS = 1024
"""Tokens of a micro-batch that the order of packed weights is chosen for; others are computed as well."""
_SHARE_OF_MEMORY = 0.125


@contextmanager
def packed_frozen(model: torch.nn.Module, dtype: torch.dtype, most_bytes: int | None = None) -> Iterator[None]:
    """Pack the frozen weights beside LoRA inside the block, all of them or none; none where it is no faster.

    Args:
        model: adapted; layers that are not computed in one step, or not on an x86 CPU, are left as they are.
        dtype: of the products.
        most_bytes: for the packed weights; None: an eighth of the machine's memory.
    """
    found = [(layer, weight) for layer, weight in _packable(model) if _pays(dtype) and can_pack(weight, dtype)]
    most = _SHARE_OF_MEMORY * memory_limit() if most_bytes is None else most_bytes
    if sum(_bytes(weight, dtype) for _, weight in found) > most:
        found = []
    for layer, weight in found:
        layer.packed = pack(weight, dtype, _ROWS)
    try:
        yield
    finally:
        for layer, _ in found:
            layer.packed = None


def packed_bytes(model: torch.nn.Module, dtype: torch.dtype) -> int:
    """Return the bytes that `packed_frozen` takes on this machine; a model on the meta device is one on the CPU."""
    if not is_possible(dtype) or not _pays(dtype):
        return 0
    size = sum(_bytes(weight, dtype) for _, weight in _packable(model))
    return size if size <= _SHARE_OF_MEMORY * memory_limit() else 0


def _pays(dtype: torch.dtype) -> bool:
    """Tell whether packed weights are faster: not where oneDNN multiplies with plain ones (docs/log.md)."""
    return dtype != torch.float32 or not is_wide()


def _packable(model: torch.nn.Module) -> Iterator[tuple[LoraLinear, torch.Tensor]]:
    """Find the layers that may be computed in one step, with the frozen weights of their bases."""
    for layer in model.modules():
        if isinstance(layer, LoraLinear):
            base = layer.base_layer
            if is_plain(base) and not base.weight.requires_grad:
                yield layer, base.weight


def _bytes(weight: torch.Tensor, dtype: torch.dtype) -> int:
    return 2 * weight.numel() * dtype.itemsize
