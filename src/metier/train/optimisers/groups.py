"""Which weights an optimiser treats alike: by decay, by rate, by whether they are matrices of a hidden layer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from metier.core.errors import SettingsError
from metier.forest.attend import inner_model
from metier.train.settings import OptimiserSettings


def trained_parameters(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Return the weights that train by name, tied ones once, in the model's order."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A weight that trains. `decays`: a matrix, which weight decay is for. `hidden`: neither embedding nor head."""

    parameter: torch.nn.Parameter
    share: float
    decays: bool
    hidden: bool


def classify(model: torch.nn.Module, settings: OptimiserSettings) -> list[Weight]:
    """Describe every weight that trains; `share` is its rate as a multiple of the run's (LoRA+).

    Raises:
        SettingsError: LoRA+ without a LoRA matrix.
    """
    weights = trained_parameters(model)
    ratio = settings.lora_plus_ratio
    outer = [name for name in weights if _is_lora_b(name)]
    if ratio is not None and not outer:
        raise SettingsError("train.optimiser.lora_plus_ratio without LoRA", "model.method lora", "leave it out")
    ends = _ends(model)
    return [
        Weight(
            parameter=weight,
            share=ratio if ratio is not None and _is_lora_b(name) else 1.0,
            decays=weight.ndim >= 2,
            hidden=weight.ndim == 2 and id(weight) not in ends,
        )
        for name, weight in weights.items()
    ]


def groups(weights: list[Weight], settings: OptimiserSettings) -> list[dict[str, Any]]:
    """Return torch's parameter groups; `share` stands in each, for `Optimiser.set_rate`."""
    result = []
    for share in dict.fromkeys(weight.share for weight in weights):
        for decays in (True, False):
            found = _parameters(weights, lambda weight: weight.share == share and weight.decays == decays)  # noqa: B023
            if found:
                decay = settings.weight_decay if decays else 0.0
                result.append({"params": found, "weight_decay": decay, "share": share})
    return result


def _parameters(weights: list[Weight], wanted: Callable[[Weight], bool]) -> list[torch.nn.Parameter]:
    return [weight.parameter for weight in weights if wanted(weight)]


def _is_lora_b(name: str) -> bool:
    return ".lora_B." in name or ".lora_embedding_B." in name


def _ends(model: torch.nn.Module) -> set[int]:
    """Return the identities of the weights of the embedding and of the head."""
    inner = inner_model(model)
    modules = (inner.get_input_embeddings(), inner.get_output_embeddings())
    return {id(weight) for module in modules if module is not None for weight in module.parameters()}
