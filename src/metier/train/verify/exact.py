"""A model that computes in float64 throughout, and the memory it needs.

The library computes parts of a float64 model in float32: norms, some softmaxes, rotary angles, routers.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psutil
import torch
from torch.overrides import TorchFunctionMode

from metier.core.errors import InputError
from metier.forest.attend import inner_model
from metier.model.adapt import count_parameters
from metier.model.lora import CUSTOM_MODULES


class Exactly(TorchFunctionMode):
    """Inside this block whoever asks for float32 gets float64: `.float()`, `.to(torch.float32)`, `dtype=`."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch with float64 where float32 was asked for."""
        if func is torch.Tensor.float:
            return args[0].double()
        named = {name: _wide(value) for name, value in (kwargs or {}).items()}
        return func(*(_wide(value) for value in args), **named)


def _wide(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value


def widen(model: torch.nn.Module) -> None:
    """Turn a model into its float64 self, in place. Compute inside `Exactly()` from then on."""
    if has_experts(model):  # grouped products of experts know no float64; one by one is the library's own other way
        inner_model(model).set_experts_implementation("eager")
    model.double()


def has_experts(model: torch.nn.Module) -> bool:
    """Tell whether tokens are grouped by expert: what one row says then changes how others are grouped."""
    return inner_model(model)._can_set_experts_implementation()


def require_memory(model: torch.nn.Module, rows: int, longest: int) -> None:
    """Refuse what does not fit before it is tried.

    Raises:
        InputError: the float64 model, two gradients and the activations of the padded step need more than is free.
    """
    device = next(model.parameters()).device
    need, free = needed_bytes(model, rows, longest), free_bytes(device)
    if need > free:
        raise InputError(
            f"verifying in float64 needs about {need / 1e9:.1f} GB more, {free / 1e9:.1f} GB are free",
            "a machine that has it",
            "look at less: --verify.rows 2 --verify.tokens 64; or train LoRA (--model.method lora), whose gradients "
            "are small",
        )


def needed_bytes(model: torch.nn.Module, rows: int, longest: int) -> int:
    """Estimate what the proof needs beyond the loaded model, in bytes.

    The weights double; three gradients of what trains; for every padded token what the layers keep (about 12 widths of
    the hidden state and 4 of the MLP) and its row of attention weights; and its logits, three times.
    """
    config = inner_model(model).config.get_text_config(decoder=True)
    facts = config.to_dict()
    hidden, layers = config.hidden_size, config.num_hidden_layers
    wide = facts.get("intermediate_size") or 4 * hidden
    heads = config.num_attention_heads
    token = layers * (12 * hidden + 4 * wide + 2 * heads * longest) + 3 * config.vocab_size
    weights = count_parameters(model) // 2 + 3 * count_parameters(model, trained_only=True)
    return 8 * (weights + rows * longest * token)


def free_bytes(device: torch.device) -> int:
    """Return the memory that is free where the model is."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


@contextmanager
def as_peft(model: torch.nn.Module) -> Iterator[None]:
    """Let adapters compute as PEFT wrote them inside the block, not by our own linear."""
    ours = [module for module in model.modules() if type(module) in CUSTOM_MODULES.values()]
    classes = [type(module) for module in ours]
    for module, kind in zip(ours, classes, strict=True):
        module.__class__ = kind.__bases__[0]
    try:
        yield
    finally:
        for module, kind in zip(ours, classes, strict=True):
            module.__class__ = kind


def nudge(model: torch.nn.Module, seed: int) -> None:
    """Give trained weights that are all zero small random values: behind a zero matrix every gradient is zero."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad and not bool(weight.any()):
                weight.normal_(std=0.02)
