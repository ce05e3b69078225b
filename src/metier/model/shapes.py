"""What a model's sizes are from its configuration alone: built on torch's meta device, where weights take no room."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS, grouped_mm_experts_forward
from transformers.pytorch_utils import Conv1D

from metier.core.errors import ModelError
from metier.model.configuration import read_config
from metier.model.layers import decoder_layers
from metier.model.quiet import LIBRARY_FAULTS, quiet

_EXPERTS = "metier_outline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Numbers in a model.

    All `parameters` (tied ones once), those of the `linear` layers beneath the head (what every token is multiplied
    with), those of the `head` (what every label is multiplied with), and its number of `layers`.
    """

    parameters: int
    linear: int
    head: int
    layers: int


def outline(folder: Path, *, layers: int | None = None) -> PreTrainedModel:
    """Build the model of `folder/config.json` without numbers, in float32.

    Args:
        folder: holds config.json; weights are not looked at.
        layers: keep only so many of the first decoder layers. None: all.

    Raises:
        ModelError: no model can be built of this configuration.
    """
    config = read_config(folder)
    try:
        with quiet(), torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    except LIBRARY_FAULTS as error:
        raise ModelError(f"{folder}/config.json: no model can be built ({error})", "sizes that fit together") from error
    if model._can_set_experts_implementation():
        ALL_EXPERTS_FUNCTIONS.register(_EXPERTS, _experts)
        model.set_experts_implementation(_EXPERTS)
    if layers is not None:
        kept = decoder_layers(model)
        del kept[layers:]
        model.config.get_text_config().num_hidden_layers = layers
    return model


def _experts(module: Any, hidden: torch.Tensor, chosen: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Go through the experts of a mixture as the library does, also on the meta device, for which torch has no kernel.

    Args:
        module: the library's, with the weights of all experts in one tensor each.
        hidden: [N, hidden].
        chosen: experts of each token, int64 [N, K].
        shares: what each of them counts, [N, K].
    """
    if hidden.device.type != "meta":
        return grouped_mm_experts_forward(module, hidden, chosen, shares)
    experts = chosen.reshape(-1)

    def product(x: torch.Tensor, name: str) -> torch.Tensor:
        one = getattr(module, name)[0]
        y = x.to(one.dtype) @ (one if module.is_transposed else one.T)
        return y.add_(getattr(module, f"{name}_bias")[experts]) if module.has_bias else y

    if module.has_gate:
        inner = module._apply_gate(product(hidden.repeat_interleave(chosen.shape[1], dim=0), "gate_up_proj"))
    else:
        inner = module.act_fn(product(hidden.repeat_interleave(chosen.shape[1], dim=0), "up_proj"))
    found = product(inner, "down_proj") * shares.reshape(-1, 1)
    return found.view(*chosen.shape, -1).sum(dim=1).to(hidden.dtype)


def sizes(model: PreTrainedModel) -> Sizes:
    """Count the numbers of a model, loaded or in outline."""
    head = model.get_output_embeddings()
    linear = sum(
        module.weight.numel()
        for module in model.modules()
        if isinstance(module, (torch.nn.Linear, Conv1D)) and module is not head
    )
    return Sizes(
        parameters=sum(weight.numel() for weight in model.parameters()),
        linear=linear,
        head=head.weight.numel() if isinstance(head, torch.nn.Linear) else 0,
        layers=model.config.get_text_config().num_hidden_layers,
    )
