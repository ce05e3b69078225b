"""Decide which weights train, and put what trains into the base."""

import torch
from transformers import PreTrainedModel

from metier.core.errors import SettingsError
from metier.core.types import Reasoned
from metier.model.find import Base
from metier.model.settings import ModelSettings
from metier.model.ways.bottleneck import add_bottlenecks
from metier.model.ways.ia3 import add_ia3
from metier.model.ways.layers import train_layers
from metier.model.ways.library import add_any
from metier.model.ways.lora import add_lora
from metier.model.ways.virtual import Virtual, add_virtual, in_front

_FULL_BELOW = 50_000_000


def count_parameters(model: torch.nn.Module, *, trained_only: bool = False) -> int:
    """Count the numbers in a model, tied weights once."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad or not trained_only)


def choose_method(model: PreTrainedModel, base: Base, settings: ModelSettings) -> tuple[str, Reasoned]:
    """Resolve `method: auto` by the size of the base; see `resolve`."""
    return resolve(count_parameters(model), base, settings)


def resolve(count: int, base: Base, settings: ModelSettings) -> tuple[str, Reasoned]:
    """Resolve `method: auto` of a base with `count` parameters.

    Raises:
        SettingsError: anything but full training of a base with random weights.
    """
    if base.kind == "config":
        if settings.method not in ("auto", "full") or settings.quantise != "none":
            found = f"model.method {settings.method!r}" if settings.quantise == "none" else "model.quantise"
            raise SettingsError(f"{found} on a base with random weights", "full", "name a base with weights")
        return "full", Reasoned(name="model.method", value="full", reason="the base starts from random weights")
    if settings.method != "auto":
        return settings.method, Reasoned(name="model.method", value=settings.method, reason="as set")
    if settings.quantise != "none":
        return "lora", Reasoned(name="model.method", value="lora", reason=f"the base is frozen in {settings.quantise}")
    method = "full" if count < _FULL_BELOW else "lora"
    side = "below" if method == "full" else "at least"
    reason = f"{count / 1e6:.1f} million parameters, {side} {_FULL_BELOW // 1_000_000} million"
    return method, Reasoned(name="model.method", value=method, reason=reason)


def adapt(model: PreTrainedModel, base: Base, method: str, settings: ModelSettings, *, seed: int) -> torch.nn.Module:
    """Mark what trains, and add adapters where the method has them.

    The result is a function of the base's weights, the settings and the seed: a resumed run finds the same one again.

    Args:
        model: the loaded base; changed in place.
        base: for the adapter's own record of what it belongs to.
        method: any of `ModelSettings.method` but "auto".
        settings: ranks, targets, layers …
        seed: of the adapters' random start.

    Raises:
        SettingsError: a target, a layer or a name that the model does not have; settings that exclude each other.
    """
    if method == "full":
        model.requires_grad_(True)
        return model
    _require_untouched(method, settings)
    model.requires_grad_(False)
    adapted: torch.nn.Module
    match method:
        case "layers":
            return train_layers(model, settings.layers)
        case "bottleneck":
            return add_bottlenecks(model, settings.bottleneck, dropout=settings.dropout, seed=seed)
        case "prompt" | "prefix":
            adapted = add_virtual(model, base, settings, method, seed=seed)
        case "lora":
            adapted = add_lora(model, base, settings, seed=seed)
        case "ia3":
            adapted = add_ia3(model, base, settings, seed=seed)
        case _:
            adapted = in_front(add_any(model, base, settings, seed=seed))
    if isinstance(adapted, Virtual) and adapted.in_cache and settings.gradient_checkpointing:
        raise SettingsError(
            f"model.gradient_checkpointing with method {method}",
            "one of them",
            "recomputed layers do not see the learnt keys and values",
        )
    return adapted


def may_be_rounded(settings: ModelSettings) -> bool:
    """Tell whether these settings of LoRA go with a base in fewer bits."""
    return not _touching("lora", settings)


def _touching(method: str, settings: ModelSettings) -> str:
    """Return the setting by which a method reads the weights themselves, or takes something out of them; or ""."""
    chosen = settings.lora
    if method == "lora" and chosen.init in ("pissa", "pissa-niter", "olora"):
        return f"model.lora.init {chosen.init}"
    if method == "lora" and chosen.dora:
        return "model.lora.dora"
    return "model.method peft" if method == "peft" else ""


def stays_as_stored(method: str, settings: ModelSettings, *, bfloat16: bool) -> bool:
    """Tell whether linear layers that were loaded in bfloat16 stay so until they are put into other bits, if any.

    What trains must stand beside them. Products in bfloat16 take them as they are; those in float32 would make each
    weight anew, which is for those whose memory is short, and who set `model.quantise`.

    Args:
        method: resolved.
        settings: of the run.
        bfloat16: whether products are computed in it.
    """
    beside = method not in ("full", "layers") and not _touching(method, settings) and not settings.lora.save_modules
    return beside and (bfloat16 or settings.quantise != "none")


def _require_untouched(method: str, settings: ModelSettings) -> None:
    """Refuse a base of few bits where a method reads the weights themselves, or takes something out of them."""
    found = _touching(method, settings)
    if settings.quantise != "none" and found:
        raise SettingsError(
            f"model.quantise {settings.quantise!r} with {found}",
            "a method that only adds to what the base computes",
            "set model.quantise none, or plain lora",
        )
