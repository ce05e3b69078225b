"""Every way of updating weights, small enough for a base of width 32."""

from typing import Any

import torch

from metier.model.adapt import adapt
from metier.model.find import Base
from metier.model.load import load_base
from metier.model.settings import ModelSettings
from tests.model.bases import CPU

LIBRARY: dict[str, dict[str, Any]] = {
    "adamss": {},
    "adaption_prompt": {"adapter_len": 4, "adapter_layers": 2},
    "beft": {},
    "boft": {"boft_block_size": 4},
    "c3a": {"block_size": 16},
    "cartridge": {"num_virtual_tokens": 4},
    "deft": {},
    "delora": {"r": 4},
    "fourierft": {"n_frequency": 50},
    "frod": {"progressbar": False},
    "glora": {"r": 4},
    "gralora": {},
    "hira": {"r": 4},
    "hra": {"r": 4},
    "ia3": {"target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    "ln_tuning": {},
    "loha": {"r": 4},
    "lokr": {"r": 4},
    "lora": {"r": 4, "init_lora_weights": "pissa", "use_rslora": True},
    "miss": {"r": 8},
    "oft": {"oft_block_size": 8},
    "osf": {},
    "p_tuning": {"num_virtual_tokens": 4, "encoder_hidden_size": 16},
    "peanut": {},
    "psoft": {"r": 8},
    "pvera": {"r": 8},
    "randlora": {"r": 8},
    "road": {"group_size": 16},
    "shira": {"r": 4},
    "supertuning": {},
    "tinylora": {},
    "trainable_tokens": {"token_indices": [20, 70, 90]},
    "unilora": {},
    "vblora": {"vector_length": 16, "num_vectors": 16},
    "vera": {"r": 8},
    "waveft": {"n_frequency": 50},
}
"""PEFT's own, by name and configuration."""


def _lora(**chosen: Any) -> dict[str, Any]:
    return {"method": "lora", "rank": 4, "lora": chosen}


WAYS: dict[str, dict[str, Any]] = {
    "full": {"method": "full"},
    "layers": {"method": "layers", "layers": "top-1"},
    "layers by name": {"method": "layers", "layers": ["*.mlp", "*layers.0.self_attn.q_proj*"]},
    "lora": _lora(),
    "lora gaussian": _lora(init="gaussian"),
    "lora orthogonal": _lora(init="orthogonal"),
    "lora mica": _lora(init="mica"),
    "lora pissa": _lora(init="pissa"),
    "lora pissa-niter": _lora(init="pissa-niter"),
    "lora olora": _lora(init="olora"),
    "lora dora rslora": _lora(dora=True, rslora=True),
    "lora pissa dora rslora patterns": _lora(
        init="pissa", dora=True, rslora=True, rank_pattern={"q_proj": 2, "down_proj": 6}, alpha_pattern={"v_proj": 3.0}
    ),
    "lora pissa patterns": _lora(init="pissa", rank_pattern={"q_proj": 2}, alpha_pattern={"v_proj": 3.0}),
    "lora whole modules": _lora(save_modules=["embeddings", "norm"]),
    "bottleneck": {"method": "bottleneck", "bottleneck": {"width": 8}},
    "prompt": {"method": "prompt", "virtual": {"tokens": 4}},
    "prefix": {"method": "prefix", "virtual": {"tokens": 4}},
    "prefix projected": {"method": "prefix", "virtual": {"tokens": 4, "projection": 16}},
    "ia3": {"method": "ia3"},
} | {f"peft {name}": {"method": "peft", "peft": {"type": name, "config": config}} for name, config in LIBRARY.items()}
"""Name -> values of ModelSettings."""


def fresh(base: Base, values: dict[str, Any], seed: int = 0) -> torch.nn.Module:
    """Load a base and adapt it."""
    settings = ModelSettings.model_validate(values)
    return adapt(load_base(base, device=CPU), base, settings.method, settings, seed=seed)


def everything(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of every number of a model: parameters and all buffers, under every name they have."""
    found = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: tensor.detach().clone() for name, tensor in found}
