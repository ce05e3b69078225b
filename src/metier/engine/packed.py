"""Linear layers of a model that is only asked: their weights laid out for products with few rows, on the CPU.

Measured here with 16 rows: 2 times as fast for a head of 32,000 tokens, 1.2 to 1.5 times for the layers, 2 times for
both in bfloat16 (docs/log.md). LoRA beside a layer is folded into the weights that are laid out, so it costs nothing.

Shapes: I = inputs, O = outputs, M = rows of a product.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from peft.tuners.tuners_utils import BaseTunerLayer

from metier.core.memory import memory_limit
from metier.forest.attend import inner_model
from metier.model.packing import can_pack, product, reordered

_ROWS = 16
"""The number of rows that the order of the weights is chosen for; others are computed as well."""

_SMALLEST = 1 << 19
"""Products of fewer multiplications M * I * O are over before the other kernel has begun."""

_SHARE_OF_MEMORY = 0.25
"""The weights stand in memory twice: no more than this share for the second time."""


class PackedLinear(torch.nn.Linear):
    """A linear layer with the weights of another, and the same in oneDNN's order."""

    def __init__(self, plain: torch.nn.Linear) -> None:
        torch.nn.Module.__init__(self)
        self.in_features, self.out_features = plain.in_features, plain.out_features
        self.weight, self.bias = plain.weight, plain.bias
        self._packed = reordered(plain.weight, _ROWS)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return [..., O] of [..., I]; as the plain layer does where a gradient is wanted."""
        multiplications = input.numel() * self.out_features
        if torch.is_grad_enabled() or multiplications < _SMALLEST or input.dtype != self.weight.dtype:
            return super().forward(input)
        return product(input, self._packed, self.bias)


@contextmanager
def packed(model: torch.nn.Module, most_bytes: int | None = None) -> Iterator[None]:
    """Give a model packed layers inside the block, where that pays and memory holds them.

    `most_bytes`: for all that is laid out; None: a quarter of the machine's memory. It is all or nothing.
    """
    inner = inner_model(model)
    plain, adapted = dict(_packable(inner)), dict(_foldable(inner))
    size = sum(module.weight.nbytes for module in plain.values())
    size += sum(2 * layer.get_base_layer().get_parameter("weight").nbytes for layer in adapted.values())
    if size > (_SHARE_OF_MEMORY * memory_limit() if most_bytes is None else most_bytes):
        plain, adapted = {}, {}
    for name, module in plain.items():
        inner.set_submodule(name, PackedLinear(module))
    for name, layer in adapted.items():
        inner.set_submodule(name, PackedLinear(folded(layer)))
    try:
        yield
    finally:
        for name, module in {**plain, **adapted}.items():
            inner.set_submodule(name, module)


@torch.no_grad()
def folded(layer: LoraLinear) -> torch.nn.Linear:
    """Return a plain layer whose weight is that of the base and all that its adapters add: the same up to rounding."""
    base = layer.get_base_layer()
    assert isinstance(base, torch.nn.Linear)
    weight = base.weight.detach()
    for name in _active(layer):
        weight = weight + layer.get_delta_weight(name)
    plain = torch.nn.Linear(base.in_features, base.out_features, bias=False, device="meta")
    plain.weight, plain.bias = torch.nn.Parameter(weight, requires_grad=False), base.bias
    return plain


def _foldable(model: torch.nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """Find the layers with LoRA that one product computes: in float32, since a narrower sum would round adapters away.

    What PEFT adds to it (DoRA, biases of its own, dropout while it learns) is left to PEFT.
    """
    for name, layer in model.named_modules():
        if not isinstance(layer, LoraLinear):
            continue
        base, active = layer.get_base_layer(), _active(layer)
        is_plain = type(base) is torch.nn.Linear and not layer.merged and not layer.training
        beside = [layer.lora_A[one].weight.dtype for one in active]
        own = any(one in layer.lora_variant or layer.lora_bias[one] for one in active)
        alike = is_plain and all(dtype == torch.float32 for dtype in [base.weight.dtype, *beside])
        if alike and not own and can_pack(base.weight, torch.float32):
            yield name, layer


def _active(layer: LoraLinear) -> list[str]:
    """Return the adapters that take part now."""
    return [] if layer.disable_adapters else [name for name in layer.active_adapters if name in layer.lora_A]


def _packable(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Linear]]:
    """Find the linear layers of the library's own, with weights that the kernel knows, outside of any adapter."""
    adapted = [name + "." for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)]
    for name, module in model.named_modules():
        if type(module) is not torch.nn.Linear or name.startswith(tuple(adapted)):
            continue
        if can_pack(module.weight, module.weight.dtype):
            yield name, module
