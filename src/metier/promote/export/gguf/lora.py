"""A LoRA adapter in PEFT's format as a GGUF file. R = rank, I = inputs, O = outputs of a linear layer."""

import math
from pathlib import Path

import torch
from peft import LoraConfig, PeftConfig
from peft.utils.other import get_pattern_key
from safetensors.torch import load_file

from metier.core.errors import ModelError
from metier.model.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from metier.model.configuration import read_config
from metier.model.find import read_json
from metier.promote.export.gguf import architectures
from metier.promote.export.gguf.model import add_tensor, close, library, names, rows_in_order

_PREFIX = "base_model.model."
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"


def write_adapter(adapter: Path, base: Path, path: Path, *, name: str) -> None:
    """Write an adapter as a GGUF file, in float32.

    llama.cpp scales the update of every matrix by one alpha over that matrix's rank, and reads nothing of rsLoRA or of
    patterns of alpha: what it would scale wrongly is put into B.

    Args:
        adapter: a folder in PEFT's format.
        base: the folder of the base that it belongs to.
        path: the file to make.
        name: of the adapter, for people.

    Raises:
        ModelError: no plain LoRA, or a weight that llama.cpp has no place for.
        MissingExtraError: the `gguf` library is not installed.
    """
    gguf, config = library(), read_config(base)
    architecture, places = architectures.of(config), names(config, gguf)
    settings, tensors = _read(adapter)
    writer = gguf.GGUFWriter(str(path), architecture.name)
    writer.add_name(name)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(settings.lora_alpha))
    left = [key for key in tensors if not key.endswith((_DOWN, _UP))]
    if left:
        raise ModelError(f"{adapter}: {left[0]} is no part of a plain LoRA", "", "export it --to gguf, which merges it")
    for layer in sorted({key.removesuffix(_DOWN).removesuffix(_UP) for key in tensors}):
        place = places.get_name(layer.removeprefix(_PREFIX))
        if place is None:
            raise ModelError(f"{adapter}: {layer} has no place in a GGUF file", f"layers of {architecture.name}")
        down, up = tensors[layer + _DOWN].float(), tensors[layer + _UP].float()
        up = rows_in_order(f"{layer}.weight", up * _correction(settings, layer, len(down)), config, architecture)
        add_tensor(writer, f"{place}.weight.lora_a", down, "f32", gguf)
        add_tensor(writer, f"{place}.weight.lora_b", up, "f32", gguf)
    close(writer)


def _read(adapter: Path) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    facts = read_json(adapter / ADAPTER_CONFIG)
    if facts.get("peft_type") != "LORA" or facts.get("use_dora"):
        kind = "DoRA" if facts.get("use_dora") else facts.get("peft_type")
        raise ModelError(f"{adapter}: {kind}", "plain LoRA", "export it --to gguf, which merges it")
    settings = PeftConfig.from_pretrained(str(adapter))
    assert isinstance(settings, LoraConfig)
    return settings, load_file(str(adapter / ADAPTER_WEIGHTS))


def _correction(settings: LoraConfig, layer: str, rank: int) -> float:
    """Return the scale that PEFT gives a layer over the one that llama.cpp gives it."""
    patterns = settings.alpha_pattern or {}
    alpha = patterns.get(get_pattern_key(list(patterns), layer), settings.lora_alpha)
    scale = alpha / (math.sqrt(rank) if settings.use_rslora else rank)
    return scale / (settings.lora_alpha / rank)
