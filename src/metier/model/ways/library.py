"""Any method of the PEFT library by its own name and configuration."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from transformers import PreTrainedModel

from metier.core import seeds
from metier.core.errors import SettingsError
from metier.core.table import find, nearest
from metier.model.find import Base
from metier.model.layers import odd_linear_layers
from metier.model.quiet import LIBRARY_FAULTS, quiet
from metier.model.settings import ModelSettings
from metier.model.ways import start

_REFUSED = {
    "adalora": "its ranks are moved by a call between the steps, which a loop that knows no method does not make",
    "cpt": "it needs the types of the tokens and a loss of its own",
    "lily": "its router averages over all tokens of a call: other rows, and words yet to come, enter every answer",
    "multitask_prompt_tuning": "it needs a task number with every row",
    "poly": "it needs a task number with every row",
    "shadow": "its model is no causal language model to the rest of the library",
    "xlora": "it needs adapters that are trained already",
}
_OURS = {
    "alora_invocation_tokens": "it looks for them once in a call, which holds many rows",
    "auto_mapping": "",
    "base_model_name_or_path": "set base",
    "inference_mode": "",
    "monteclora_config": "it needs a loss of its own",
    "peft_type": "set model.peft.type",
    "peft_version": "",
    "revision": "set base",
    "task_type": "",
    "tokenizer_kwargs": "use method prompt with model.virtual.text",
    "tokenizer_name_or_path": "use method prompt with model.virtual.text",
}
"""Fields that follow from the rest of the project, would read files that the project does not name, or want more than
the loop gives."""


def add_any(model: PreTrainedModel, base: Base, settings: ModelSettings, *, seed: int) -> PeftModel:
    """Put the adapters of `model.peft` into a frozen model.

    Raises:
        SettingsError: an unknown method or field (with the nearest known one), or values that do not fit the base.
    """
    if settings.peft is None:
        raise SettingsError("model.method peft without model.peft", "peft: {type: NAME, config: {…}}")
    name = known_as(settings.peft.type)
    kind = find(configurations(), name, "model.peft.type")
    if name in _REFUSED:
        raise SettingsError(f"model.peft.type {name!r}: {_REFUSED[name]}", "another method")
    values = _checked(name, kind, settings.peft.config)
    with quiet():
        try:
            config = kind(task_type="CAUSAL_LM", **values)
        except LIBRARY_FAULTS as error:
            raise SettingsError(f"model.peft.config: {error}", f"a configuration of {name}") from error
    if isinstance(config, LoraConfig) and start.needs_data(config):
        raise SettingsError(
            f"model.peft.config.init_lora_weights {config.init_lora_weights!r}: needs data before training",
            "a start that needs none, such as pissa or olora",
        )
    return wrap(model, base, config, seed=seed, where=f"model.peft ({name})")


def configurations() -> dict[str, type[PeftConfig]]:
    """Return the library's classes of configurations by their methods' names."""
    return {kind.value.lower(): config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}


def known_as(name: str) -> str:
    """Return the name of a method as the library writes it."""
    return name.lower().replace("-", "_")


def _checked(name: str, kind: type[PeftConfig], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a method's values with our defaults, or say which name is not one of its fields."""
    known = {field.name for field in dataclasses.fields(kind) if field.init}
    free = sorted(known - set(_OURS))
    for key in values:
        if key in _OURS:
            raise SettingsError(f"model.peft.config.{key}: not for you to set", "", _OURS[key])
        if key not in known:
            close = nearest(key, free)
            hint = f"did you mean {close!r}?" if close else ""
            raise SettingsError(f"model.peft.config.{key}: unknown to {name}", f"one of {', '.join(free)}", hint)
    wants_linear = "target_modules" in known and name not in ("ia3", "ln_tuning", "trainable_tokens", "adaption_prompt")
    return ({"target_modules": "all-linear"} if wants_linear else {}) | dict(values)


def wrap(model: PreTrainedModel, base: Base, config: PeftConfig, *, seed: int, where: str) -> PeftModel:
    """Put the adapters of a configuration into a model, from the random numbers of a seed alone.

    Raises:
        SettingsError: the library refuses; `where` names the settings.
    """
    config.base_model_name_or_path = base.name
    if vars(config).get("target_modules") == "all-linear" and (odd := odd_linear_layers(model)):
        vars(config)["exclude_modules"] = odd
    torch.manual_seed(seeds.key("adapter", seed))
    with quiet():
        try:
            adapted = get_peft_model(model, config)
        except LIBRARY_FAULTS as error:
            raise SettingsError(f"{where}: {error}", f"settings that fit {base.name}") from error
    assert isinstance(adapted, PeftModel)
    if isinstance(config, LoraConfig) and start.takes_from_base(config):
        start.remember(adapted)
    return adapted
