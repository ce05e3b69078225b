"""Go through a step on torch's meta device, where nothing is computed, and note what memory it would take."""

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from metier.forest import score
from metier.forest.arrange import Arrangement
from metier.forest.attend import inner_model
from metier.forest.forest import Forest
from metier.forest.way import Way
from metier.model.linear import summed
from metier.train.objectives.supervised import Objective
from metier.train.planning.heap import Heap

_NAME = "metier_gone_through"
_NUMBERS = torch.ops.aten._local_scalar_dense.default


class Watch(TorchDispatchMode):
    """Notes every operation, and every piece of memory from when it is first seen until nothing holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.heap = Heap()
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
        self._live[key] = self.heap.allocate(storage.nbytes())
        weakref.finalize(storage, self._let_go, key)

    def _let_go(self, key: int) -> None:
        self.heap.free(self._live.pop(key))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Go through one operation."""
        if func is _NUMBERS:
            return 1  # nothing is known of any number; true and finite is the way a training goes
        result = func(*args, **(kwargs or {}))
        for part in _flat(result):
            if isinstance(part, torch.Tensor):
                self.hold(part)
        return result


class _Autocast(torch.autocast):
    """torch's own, which refuses models without numbers: nothing is ever cast there, so it stands on the CPU's switch.

    PEFT folds LoRA into the weights of experts with autocast switched off for the device that they are on.
    """

    def __init__(self, device_type: str, *args: Any, **named: Any) -> None:
        super().__init__("cpu" if device_type == "meta" else device_type, *args, **named)


@contextmanager
def _autocast_everywhere() -> Iterator[None]:
    before = torch.autocast
    torch.autocast = _Autocast
    try:
        yield
    finally:
        torch.autocast = before


@contextmanager
def _in_one_kernel(model: torch.nn.Module) -> Iterator[None]:
    """Go through a model's own attention in one kernel, as devices compute it.

    Where nothing is computed torch takes none, but writes all scores out.
    """
    inner = inner_model(model)
    before = str(inner.config._attn_implementation)
    if before != "sdpa":
        yield
        return
    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    inner.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        inner.set_attn_implementation(before)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention output [B, T, H, D] as the library's `sdpa` gives it, which repeats keys behind a mask."""
    if attention_mask is not None:
        key, value = (tensor.repeat_interleave(query.shape[1] // tensor.shape[1], dim=1) for tensor in (key, value))
        attention_mask = torch.where(attention_mask, 0.0, query.new_full((), float("-inf")))
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    output = kernel(query, key, value, 0.0, attention_mask is None, attn_mask=attention_mask, scale=scaling)[0]
    return output.transpose(1, 2).contiguous(), None


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from _flat(part)
    else:
        yield value


@contextmanager
def _watching(models: Iterable[torch.nn.Module]) -> Iterator[Watch]:
    watch = Watch()
    for model in models:
        watch.ignore(model)
    with watch:
        yield watch


def go_through(
    model: torch.nn.Module, work: Arrangement, way: Way, objective: Objective, *, beside: Iterable[torch.nn.Module] = ()
) -> int:
    """Go through a step's largest forest and the trunks above it, forwards and backwards, as a later one of several.

    Args:
        model: on the meta device, adapted, in training mode.
        work: a step.
        way: how the model is computed.
        objective: what a step computes.
        beside: other models that it computes with.

    Returns:
        Bytes at the worst moment, beside the weights of all models.
    """
    forest = largest(work).to(torch.device("meta"))
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    attention = way.attention if way.packed else _in_one_kernel
    with attention(model), summed(model), _autocast_everywhere(), _watching((model, *beside)) as watch:
        for trunk in forest.trunks:
            score.read_trunk(model, trunk)
        if len(work.forests) > 1:  # what earlier forests left
            for weight in trained:
                weight.grad = torch.empty_like(weight)
        (objective.loss(model, forest).total / 2).backward()
        for trunk in reversed(forest.trunks):
            trunk.backward()
        peak = watch.heap.peak
        for weight in trained:
            weight.grad = None
    return peak


def largest(work: Arrangement) -> Forest:
    """Return the forest of a step with the most tokens, those of the trunks above it among them."""
    return max((forest for _, forest in work.forests), key=lambda forest: forest.tokens + held(forest))


def held(forest: Forest) -> int:
    """Return the tokens of the trunks above a forest."""
    return 0 if forest.trunk is None else forest.trunk.tokens
