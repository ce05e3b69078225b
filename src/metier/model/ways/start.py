"""Adapters that start with what they take out of the base, and how what is saved fits the original base again.

Shapes: r = rank, I = inputs and O = outputs of a linear layer.
"""

from typing import Any

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer

_TAKING = ("pissa", "olora")
_WITHOUT_DATA = ("gaussian", "orthogonal", "mica", *_TAKING)


def needs_data(config: LoraConfig) -> bool:
    """Tell whether a start has to look at rows, gradients or a quantised base before training: ours does not."""
    return isinstance(config.init_lora_weights, str) and not config.init_lora_weights.startswith(_WITHOUT_DATA)


def takes_from_base(config: LoraConfig) -> bool:
    """Tell whether a start puts into the adapter what it takes out of the frozen base."""
    return isinstance(config.init_lora_weights, str) and config.init_lora_weights.lower().startswith(_TAKING)


def remember(model: PeftModel) -> None:
    """Keep what each adapter started as beside it, in no state dictionary: saving has to take it away again."""
    for module in model.modules():
        if isinstance(module, LoraLayer):
            for name in ("lora_A", "lora_B"):
                matrix = module.get_submodule(f"{name}.default").get_parameter("weight")
                module.register_buffer(f"start_{name}", matrix.detach().clone(), persistent=False)


def converted(
    model: PeftModel, tensors: dict[str, torch.Tensor], config: dict[str, Any]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return an adapter and its configuration so that they fit the original base.

    An adapter that started as A₀, B₀ taken out of the base, W' = W - s·B₀A₀, computes W' + s·BA = W + s·(BA - B₀A₀):
    a plain LoRA on W of twice the rank, [A; A₀] and [B, -B₀] (Meng et al. 2024, PiSSA, appendix on conversion).

    Args:
        model: the trained model.
        tensors: its adapter by saved name: A [r, I], B [O, r].
        config: the adapter's configuration as plain values.
    """
    config = config | {"init_lora_weights": True}  # how it started is history: nobody has to start it again
    starts = {name: buffer for name, buffer in model.named_buffers() if ".start_lora_" in name}
    if not starts:
        return tensors, config
    result = dict(tensors)
    for name, start in starts.items():
        place = f"{name.replace('.start_', '.')}.weight"
        is_first = place.endswith("lora_A.weight")
        result[place] = torch.cat([tensors[place], start.cpu() if is_first else -start.cpu()], dim=0 if is_first else 1)
    growth = 2**0.5 if config["use_rslora"] else 2  # so that alpha / rank (or its root) stays what it was
    return result, config | {
        "r": 2 * config["r"],
        "lora_alpha": growth * config["lora_alpha"],
        "rank_pattern": {key: 2 * value for key, value in config["rank_pattern"].items()},
        "alpha_pattern": {key: growth * value for key, value in config["alpha_pattern"].items()},
    }


def forget(config: LoraConfig) -> None:
    """Take the start out of the configuration of a saved adapter: its weights are known, and no file is to be read."""
    config.init_lora_weights = True
    config.eva_config = config.corda_config = config.lora_ga_config = None
    config.loftq_config = {}
