"""Where a model keeps its decoder layers, and which of its layers are linear and nothing else."""

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from metier.core.errors import SettingsError
from metier.model.quiet import LIBRARY_FAULTS


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


def linear_layers(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Return the layers that compute x W.T + b and nothing more, by name: an adapter can stand beside these."""
    odd = set(odd_linear_layers(model))
    return {name: module for name, module in _weighing(model).items() if name not in odd}


def odd_linear_layers(model: torch.nn.Module) -> list[str]:
    """Return the names of layers that no adapter can stand beside, though they are linear to the library.

    Some return more than their product, as routers do. Of others the weight is read past the layer, so that an adapter
    would be in vain: Mamba's steps always, the way out of its layers where fused kernels are used.
    """
    modules = dict(model.named_modules())
    return [
        name
        for name, module in _weighing(model).items()
        if not _is_plain(module) or _is_read_past(name, modules[name.rpartition(".")[0]])
    ]


def _weighing(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    return {name: module for name, module in model.named_modules() if isinstance(module, (torch.nn.Linear, Conv1D))}


def _is_plain(module: torch.nn.Module) -> bool:
    """Tell whether a layer returns one tensor of its outputs: tried where a class has a way of its own."""
    if not isinstance(module, torch.nn.Linear) or type(module).forward is torch.nn.Linear.forward:
        return True
    try:
        with torch.no_grad():
            found = module(module.weight.new_zeros(1, module.in_features))
    except LIBRARY_FAULTS:
        return False
    return isinstance(found, torch.Tensor) and found.shape == (1, module.out_features)


def _is_read_past(name: str, parent: torch.nn.Module) -> bool:
    """Tell whether this is such a layer of a state-space block, which is known by its decay A and its shortcut D."""
    own = dict(parent.named_parameters(recurse=False))
    return name.rpartition(".")[2] in ("dt_proj", "out_proj") and {"A_log", "D"} <= own.keys()
