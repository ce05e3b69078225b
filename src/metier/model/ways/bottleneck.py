"""Bottleneck adapters: small modules behind the blocks of a frozen base (Houlsby et al. 2019, Pfeiffer et al. 2020).

x + up(activation(down(x))) on what a block hands to the residual stream. `up` starts at zero: without effect.
"""

import math
from typing import Any, Literal

import torch
from torch.nn.functional import gelu, relu, silu
from transformers import PreTrainedModel

from metier.core import seeds
from metier.core.errors import SettingsError
from metier.model.layers import decoder_layers
from metier.model.settings import BottleneckSettings

NAME = "bottleneck"
_ACTIVATIONS = {"gelu": gelu, "relu": relu, "silu": silu}
_CALLED = {"attention": ("attention", "attn"), "mlp": ("mlp", "feedforward", "ffn", "moe")}


class Bottleneck(torch.nn.Module):
    """One module: hidden -> width -> hidden, added to its input.

    Args:
        hidden: width of the residual stream.
        settings: width and activation.
        dropout: share of the middle zeroed while training.
    """

    def __init__(self, hidden: int, settings: BottleneckSettings, dropout: float) -> None:
        super().__init__()
        self.down = torch.nn.Linear(hidden, settings.width)
        self.up = torch.nn.Linear(settings.width, hidden)
        self.dropout = torch.nn.Dropout(dropout)
        self.settings = settings
        self.enabled = True
        torch.nn.init.normal_(self.down.weight, std=1 / math.sqrt(hidden))
        for tensor in (self.down.bias, self.up.weight, self.up.bias):
            torch.nn.init.zeros_(tensor)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """[..., hidden] -> [..., hidden]."""
        if not self.enabled:
            return hidden
        middle = _ACTIVATIONS[self.settings.activation](self.down(hidden.to(self.down.weight.dtype)))
        return hidden + self.up(self.dropout(middle)).to(hidden.dtype)


def add_bottlenecks(
    model: PreTrainedModel, settings: BottleneckSettings, *, dropout: float = 0.0, seed: int = 0
) -> PreTrainedModel:
    """Put modules into a frozen model, in place; the base's own weights keep their names.

    Raises:
        SettingsError: the architecture has no such blocks.
    """
    torch.manual_seed(seeds.key("adapter", seed))
    hidden = model.config.get_text_config().hidden_size
    kinds: tuple[Literal["attention", "mlp"], ...] = (
        ("attention", "mlp") if settings.places == "both" else (settings.places,)
    )
    for kind in kinds:
        found = blocks(model, kind)
        if not found:
            raise SettingsError(f"model.bottleneck.places: no {kind} blocks in {type(model).__name__}", "other places")
        for _, block in found:
            weight = next(block.parameters())
            block.add_module(NAME, Bottleneck(hidden, settings, dropout).to(weight.device))
            block.register_forward_hook(_through)
    return model


def _through(block: torch.nn.Module, inputs: Any, output: Any) -> Any:
    """Send a block's output through its module; some blocks return more than the hidden states."""
    module = block.get_submodule(NAME)
    return (module(output[0]), *output[1:]) if isinstance(output, tuple) else module(output)


def blocks(model: PreTrainedModel, kind: Literal["attention", "mlp"]) -> list[tuple[str, torch.nn.Module]]:
    """Return (name, module) of the attention or MLP blocks directly inside the decoder layers."""
    layers = {id(layer) for layer in decoder_layers(model)}
    modules = dict(model.named_modules())
    inside = [(name, module) for name, module in modules.items() if id(modules[name.rpartition(".")[0]]) in layers]
    return [(name, module) for name, module in inside if _kind(module) == kind]


def _kind(module: torch.nn.Module) -> str | None:
    """Tell what a block is by the name of its class: "attention" first, as a mixture's attention names both."""
    called = type(module).__name__.lower()
    return next((kind for kind, parts in _CALLED.items() if any(part in called for part in parts)), None)


def bottlenecks(model: torch.nn.Module) -> list[Bottleneck]:
    """Return the modules that were put into a model."""
    return [module for module in model.modules() if isinstance(module, Bottleneck)]


def state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the modules' weights by their names in the model."""
    return {name: tensor for name, tensor in model.state_dict().items() if f".{NAME}." in name}


def settings_of(model: torch.nn.Module) -> BottleneckSettings:
    """Return the settings that the modules of a model were made with."""
    return bottlenecks(model)[0].settings
