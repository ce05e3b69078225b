"""Where a model keeps its decoder layers."""

import torch
from transformers import PreTrainedModel

from metier.core.errors import SettingsError


def decoder_layers(model: PreTrainedModel) -> torch.nn.ModuleList:
    """Return the list of decoder layers of a causal language model.

    Raises:
        SettingsError: the architecture keeps its layers in no single list.
    """
    count = model.config.get_text_config().num_hidden_layers
    lists = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == count]
    if not lists:
        raise SettingsError(
            f"model.method 'layers': no list of {count} layers in {type(model).__name__}", "method full or lora"
        )
    return lists[0]
