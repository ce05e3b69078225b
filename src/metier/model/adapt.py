"""Decide which weights train: all of them, adapters beside them, or chosen layers."""

import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from metier.core import seeds
from metier.core.errors import SettingsError
from metier.core.types import Reasoned
from metier.model.find import Base
from metier.model.head import head_of
from metier.model.layers import decoder_layers
from metier.model.lora import CUSTOM_MODULES
from metier.model.quiet import quiet
from metier.model.settings import ModelSettings

_FULL_BELOW = 50_000_000


def count_parameters(model: torch.nn.Module, *, trained_only: bool = False) -> int:
    """Count the numbers in a model, tied weights once."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad or not trained_only)


def choose_method(model: PreTrainedModel, base: Base, settings: ModelSettings) -> tuple[str, Reasoned]:
    """Resolve `method: auto` by the size of the base.

    Raises:
        SettingsError: anything but full training of a base with random weights.
    """
    count = count_parameters(model)
    if base.kind == "config":
        if settings.method not in ("auto", "full"):
            raise SettingsError(
                f"model.method {settings.method!r} on a base with random weights", "full", "name a base with weights"
            )
        return "full", Reasoned(name="model.method", value="full", reason="the base starts from random weights")
    if settings.method != "auto":
        return settings.method, Reasoned(name="model.method", value=settings.method, reason="as set")
    method = "full" if count < _FULL_BELOW else "lora"
    side = "below" if method == "full" else "at least"
    reason = f"{count / 1e6:.1f} million parameters, {side} {_FULL_BELOW // 1_000_000} million"
    return method, Reasoned(name="model.method", value=method, reason=reason)


def adapt(model: PreTrainedModel, base: Base, method: str, settings: ModelSettings, *, seed: int) -> torch.nn.Module:
    """Mark what trains, and add adapters where the method has them.

    Args:
        model: the loaded base; changed in place.
        base: for the adapter's own record of what it belongs to.
        method: "full", "lora" or "layers".
        settings: ranks, targets, layers.
        seed: of the adapters' random start.

    Raises:
        SettingsError: a target or a layer that the model does not have.
    """
    if method == "full":
        model.requires_grad_(True)
        return model
    model.requires_grad_(False)
    if method == "lora":
        return _lora(model, base, settings, seed)
    return _layers(model, settings)


def _lora(model: PreTrainedModel, base: Base, settings: ModelSettings, seed: int) -> torch.nn.Module:
    _require_targets(model, base, settings.targets or ())
    config = LoraConfig(
        task_type="CAUSAL_LM" if head_of(model) is None else "SEQ_CLS",
        r=settings.rank,
        lora_alpha=settings.alpha if settings.alpha is not None else 2 * settings.rank,  # pyrefly: ignore
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets) if settings.targets else "all-linear",
        base_model_name_or_path=base.name,
    )
    config._register_custom_module(CUSTOM_MODULES)
    torch.manual_seed(seeds.key("adapter", seed))
    with quiet():
        return get_peft_model(model, config)


def _require_targets(model: PreTrainedModel, base: Base, targets: tuple[str, ...]) -> None:
    """Refuse targets that name nothing, and a head that is the embedding too: merged, it would change both."""
    linear = {name: module for name, module in model.named_modules() if isinstance(module, (torch.nn.Linear, Conv1D))}
    unknown = [target for target in targets if not any(f".{name}".endswith(f".{target}") for name in linear)]
    if unknown:
        names = sorted({name.rpartition(".")[2] for name in linear})
        raise SettingsError(f"model.targets: {', '.join(unknown)} not in {base.name}", f"some of {', '.join(names)}")
    embedding = model.get_input_embeddings().weight
    tied = [name for name, module in linear.items() if module.weight is embedding]
    for name in tied:
        if any(f".{name}".endswith(f".{target}") for target in targets):
            raise SettingsError(f"model.targets: {name} shares its weights with the embedding", "other layers")


def _layers(model: PreTrainedModel, settings: ModelSettings) -> torch.nn.Module:
    layers = decoder_layers(model)
    share = {"top-half": 2, "top-third": 3}
    if isinstance(settings.layers, str):
        chosen: tuple[int, ...] = tuple(range(len(layers) - max(1, len(layers) // share[settings.layers]), len(layers)))
    else:
        chosen = settings.layers
    wrong = [number for number in chosen if not 0 <= number < len(layers)]
    if wrong or not chosen:
        raise SettingsError(f"model.layers: {list(chosen)}", f"layer numbers from 0 to {len(layers) - 1}")
    for number in chosen:
        layers[number].requires_grad_(True)
    inside = {id(module) for module in layers.modules()}
    norms = [m for m in model.modules() if "norm" in type(m).__name__.lower() and id(m) not in inside]
    for norm in norms[-1:]:
        norm.requires_grad_(True)
    if (head := head_of(model)) is not None:
        head.requires_grad_(True)
    return model
