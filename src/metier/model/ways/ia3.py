"""(IA)³: learnt factors on keys, values and inner activations of a frozen base, where its layers say they are."""

from collections.abc import Iterable

import torch
from peft import IA3Config, PeftModel
from peft.utils.constants import (
    TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING as INNER,
)
from peft.utils.constants import (
    TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as KNOWN,
)
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from metier.core.errors import SettingsError
from metier.core.types import Reasoned
from metier.model.find import Base
from metier.model.layers import decoder_layers, linear_layers
from metier.model.settings import ModelSettings
from metier.model.ways.bottleneck import blocks
from metier.model.ways.library import wrap

_KEYS_AND_VALUES = {"k", "v", "kv", "qkv", "wk", "wv", "wkv", "wqkv", "key", "value", "keys", "values"}
"""Words in the names of layers that compute keys or values, alone or together with others."""


def add_ia3(model: PreTrainedModel, base: Base, settings: ModelSettings, *, seed: int) -> PeftModel:
    """Put learnt factors on keys, values and the input of the second MLP matrix (Liu et al. 2022).

    Raises:
        SettingsError: a target that names nothing, or none set for a base without such layers.
    """
    targets = settings.targets or chosen_targets(model, base)
    if targets is None:
        config = IA3Config(task_type="CAUSAL_LM")
    else:
        inner = _inner_layers(model, base, targets)
        config = IA3Config(task_type="CAUSAL_LM", target_modules=list(targets), feedforward_modules=inner)
    return wrap(model, base, config, seed=seed, where="model.targets")


def reasoned(model: PreTrainedModel, base: Base, settings: ModelSettings) -> list[Reasoned]:
    """Say which layers were chosen, where neither the settings nor the library name them."""
    targets = None if settings.targets else chosen_targets(model, base)
    if targets is None:
        return []
    reason = f"PEFT names none for {model.config.model_type}: keys, values and what ends the block beside attention"
    return [Reasoned(name="model.targets", value=list(targets), reason=reason)]


def chosen_targets(model: PreTrainedModel, base: Base) -> tuple[str, ...] | None:
    """Choose the layers whose outputs are keys or values, and those that end an MLP, by the ends of their names.

    Returns:
        None: the library knows them for this architecture.

    Raises:
        SettingsError: the base has none of them.
    """
    if str(model.config.model_type) in KNOWN:
        return None
    linear, inside = linear_layers(model), _attention(model)
    beneath = _beneath(model, linear)
    attending = {name: linear[name] for name in beneath if name in inside}
    chosen = [name for name in attending if _KEYS_AND_VALUES & _words(name)]
    if not chosen:
        chosen = sorted(attending.keys() - _ends(model, attending))
    chosen += _ends(model, {name: linear[name] for name in beneath if name not in inside})
    if not chosen:
        raise SettingsError(
            f"model.method ia3: {base.name} has no layers that are known to compute keys, values or the end of an MLP",
            f"some of {', '.join(_endings(linear))}",
            "name them: model.targets: [NAME, …]",
        )
    others = [name for name, _ in model.named_modules() if name not in set(chosen)]
    return tuple(dict.fromkeys(_shortest(name, others) for name in chosen))


def _attention(model: PreTrainedModel) -> set[str]:
    """Return the names of all modules inside attention blocks."""
    return {f"{block}.{name}" for block, module in blocks(model, "attention") for name, _ in module.named_modules()}


def _beneath(model: PreTrainedModel, linear: Iterable[str]) -> list[str]:
    """Return those of the linear layers that are part of a decoder layer."""
    inside = {id(module) for layer in decoder_layers(model) for module in layer.modules()}
    modules = dict(model.named_modules())
    return [name for name in linear if id(modules[name]) in inside]


def _ends(model: PreTrainedModel, linear: dict[str, torch.nn.Module]) -> list[str]:
    """Return of the layers beside one another the last that answers in the width of the residual stream."""
    hidden = model.config.get_text_config().hidden_size
    last = {name.rpartition(".")[0]: name for name, module in linear.items() if _outputs(module) == hidden}
    return list(last.values())


def _outputs(module: torch.nn.Module) -> int:
    assert isinstance(module, (torch.nn.Linear, Conv1D))
    return module.weight.shape[1 if isinstance(module, Conv1D) else 0]


def _words(name: str) -> set[str]:
    return set(name.rpartition(".")[2].lower().split("_"))


def _shortest(name: str, others: list[str]) -> str:
    """Return the shortest end of a name that is no end of the others."""
    parts = name.split(".")
    ends = [".".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]
    return next((end for end in ends if not any(f".{other}".endswith(f".{end}") for other in others)), name)


def _endings(names: Iterable[str]) -> list[str]:
    return sorted({name.rpartition(".")[2] for name in names})


def _inner_layers(model: PreTrainedModel, base: Base, targets: tuple[str, ...]) -> list[str]:
    """Return the targets whose input is scaled rather than their output: those that end an MLP."""
    linear = list(linear_layers(model))
    unknown = [target for target in targets if not any(f".{name}".endswith(f".{target}") for name in linear)]
    if unknown:
        raise SettingsError(
            f"model.targets: {', '.join(unknown)} not in {base.name}", f"some of {', '.join(_endings(linear))}"
        )
    attention = {name for name, _ in blocks(model, "attention")}
    known = INNER.get(str(model.config.model_type))
    if known is not None:
        return [target for target in targets if any(f".{target}".endswith(f".{name}") for name in known)]
    ends = [name for name in linear if not any(name.startswith(f"{block}.") for block in attention)]
    return [target for target in targets if any(f".{name}".endswith(f".{target}") for name in ends)]
