"""Go through a step on torch's meta device, where nothing is computed, and note what it would hold and compute."""

import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from metier.forest import score
from metier.forest.arrange import Arrangement
from metier.forest.grow import Forest
from metier.forest.way import Way

_ATEN = torch.ops.aten
_PRODUCTS = {_ATEN.mm.default: 0, _ATEN.addmm.default: 1, _ATEN.addmm_.default: 1}
"""Matrix products, and where their left side stands among the arguments."""
_ATTENTION = {
    _ATEN._scaled_dot_product_flash_attention_for_cpu.default: 2,
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward.default: 5,
}
"""Attention kernels, and their matrix products: scores and output; going back, scores again and four gradients."""
_NUMBERS = _ATEN._local_scalar_dense.default

Product = tuple[int, int, int, bool, bool]
"""Rows, inputs and outputs of a matrix product, and whether its left and right side lie row by row."""


@dataclass(kw_only=True)
class Work:
    """What is computed: `products` by shape, attention in FLOPs and calls, bytes `moved` by the rest, all `calls`."""

    products: Counter[Product] = field(default_factory=Counter)
    attention_flops: float = 0.0
    attention_calls: int = 0
    moved: float = 0.0
    calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A step gone through: `peak` bytes beside the weights, the work of the trunk and of a forest."""

    peak: int
    trunk: Work
    forest: Work


class Watch(TorchDispatchMode):
    """Notes every operation, and every piece of memory from when it is first seen until nothing holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self.work = Work()
        self._live: dict[int, int] = {}

    def ignore(self, model: torch.nn.Module) -> None:
        """Take a model's weights as there already."""
        for tensor in (*model.parameters(), *model.buffers()):
            self._live[tensor.untyped_storage()._cdata] = 0

    def hold(self, tensor: torch.Tensor) -> None:
        """Count a tensor's memory until it is let go."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._live or tensor.device.type != "meta" or not storage.nbytes():
            return
        self._live[key] = storage.nbytes()
        self.now += self._live[key]
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._let_go, key)

    def _let_go(self, key: int) -> None:
        self.now -= self._live.pop(key, 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Go through one operation."""
        if func is _NUMBERS:
            return 1  # nothing is known of any number; true and finite is the way a training goes
        result = func(*args, **(kwargs or {}))
        made = [part for part in _flat(result) if isinstance(part, torch.Tensor)]
        for tensor in made:
            self.hold(tensor)
        self._note(func, args, made)
        return result

    def _note(self, func: Any, args: Any, made: list[torch.Tensor]) -> None:
        work = self.work
        work.calls += 1
        if func in _PRODUCTS:
            left, right = args[_PRODUCTS[func] : _PRODUCTS[func] + 2]
            rows, inputs = left.shape
            work.products[rows, inputs, right.shape[1], left.stride(1) == 1, right.stride(1) == 1] += 1
        elif func in _ATTENTION:
            query, key = args[1:3] if _ATTENTION[func] > 2 else args[:2]
            size = query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2] * query.shape[3]
            causal = query.shape[2] == key.shape[2]
            work.attention_flops += 2.0 * _ATTENTION[func] * size * (0.5 if causal else 1.0)
            work.attention_calls += 1
        elif not func.is_view and func.overloadpacket is not _ATEN.empty:
            read = [part for part in _flat(args) if isinstance(part, torch.Tensor)]
            work.moved += sum(tensor.numel() * tensor.element_size() for tensor in (*read, *made))


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from _flat(part)
    else:
        yield value


@contextmanager
def _watching(model: torch.nn.Module) -> Iterator[Watch]:
    watch = Watch()
    watch.ignore(model)
    with watch:
        yield watch


def go_through(model: torch.nn.Module, work: Arrangement, way: Way) -> Trace:
    """Go through the trunk of a step and its largest forest, forwards and backwards, as a later one of several.

    Args:
        model: on the meta device, adapted, in training mode.
        work: a step.
        way: how the model is computed.
    """
    device = torch.device("meta")
    forest = largest(work).to(device)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    with way.attention(model), _watching(model) as watch:
        if work.trunk is not None:
            score.read_trunk(model, work.trunk)
        before, watch.work = watch.work, Work()
        if len(work.forests) > 1:  # what earlier forests left
            for weight in trained:
                weight.grad = torch.empty_like(weight)
        watch.work = Work()
        (way.losses(model, forest).sum() / 2).backward()
        during, watch.work = watch.work, before
        if work.trunk is not None:
            work.trunk.backward()
        peak = watch.peak
        for weight in trained:
            weight.grad = None
    return Trace(peak=peak, trunk=before, forest=during)


def largest(work: Arrangement) -> Forest:
    """Return the forest of a step with the most tokens."""
    return max((forest for _, forest in work.forests), key=lambda forest: forest.tokens)
