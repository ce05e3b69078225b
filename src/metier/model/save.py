"""Save what was trained in the formats of PEFT and of Hugging Face, with everything a server needs to render alike."""

import json
import shutil
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import PreTrainedModel

from metier.model.adapter import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    BOTTLENECK_CONFIG,
    BOTTLENECK_FORMAT,
    BOTTLENECK_WEIGHTS,
)
from metier.model.find import TOKENIZER_FILES, Base, read_json
from metier.model.quiet import quiet
from metier.model.ways.bottleneck import bottlenecks, settings_of, state
from metier.model.ways.start import converted
from metier.model.ways.virtual import peft_of

_NAMES = ("target_modules", "feedforward_modules", "modules_to_save", "exclude_modules")
"""Fields whose order means nothing to PEFT, and which it keeps in sets of another order in every process."""


def save_trained(model: torch.nn.Module, base: Base, folder: Path, *, precision: str = "float32") -> None:
    """Write an adapter (in PEFT's format, or ours of bottleneck modules) or whole weights (Hugging Face format).

    Args:
        model: as trained. A PEFT model is saved as its adapter, a model with bottleneck modules as these.
        base: gives the tokenizer files.
        folder: an existing, empty folder.
        precision: number format of whole weights on disk, "float32" or "bfloat16"; adapters stay float32.
    """
    if (adapted := peft_of(model)) is not None:
        _save_adapter(adapted, base, folder)
    elif bottlenecks(model):
        _save_bottlenecks(model, base, folder)
    else:
        save_whole(model, folder, precision=precision)
    copy_tokenizer(base.folder, folder)


def _save_adapter(model: PeftModel, base: Base, folder: Path) -> None:
    """Write an adapter in PEFT's format, for the original base whatever it started as, the same bytes every time."""
    with quiet():  # never the embedding: it does not train, and deciding that for itself the library goes online
        found = get_peft_model_state_dict(model, save_embedding_layers=False)
    # Tied tensors are written once for each name, as PEFT reads them.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in found.items()}
    config = _plain(model.peft_config["default"].to_dict())
    if isinstance(model.peft_config["default"], LoraConfig):
        tensors, config = converted(model, tensors, config)
    save_file(dict(sorted(tensors.items())), str(folder / ADAPTER_WEIGHTS), metadata={"format": "pt"})
    names = {key: sorted(config[key]) for key in _NAMES if isinstance(config.get(key), list)}
    own = {"base_model_name_or_path": _portable(base.name), "inference_mode": True}
    _write_json(folder / ADAPTER_CONFIG, config | names | own)


def _save_bottlenecks(model: torch.nn.Module, base: Base, folder: Path) -> None:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(state(model).items())}
    save_file(tensors, str(folder / BOTTLENECK_WEIGHTS), metadata={"format": "pt"})
    facts = {"format": BOTTLENECK_FORMAT, "base": _portable(base.name)}
    _write_json(folder / BOTTLENECK_CONFIG, settings_of(model).model_dump(mode="json") | facts)


def _portable(name: str) -> str:
    """Return the name of a base as another machine could read it: an absolute path means nothing there."""
    return Path(name).name if Path(name).is_absolute() else name


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def save_whole(model: torch.nn.Module, folder: Path, *, precision: str = "float32", shard_gb: float = 5.0) -> None:
    """Write a plain transformers model: config.json and safetensors, in files of at most `shard_gb` gigabytes."""
    assert isinstance(model, PreTrainedModel)
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    # Tied weights stay one tensor, so that the library writes them once.
    cast: dict[tuple[int, torch.Size], torch.Tensor] = {}
    tensors = {
        name: cast.setdefault((tensor.data_ptr(), tensor.shape), _as(tensor.detach(), dtype))
        for name, tensor in model.state_dict().items()
    }
    before = model.config.dtype
    try:
        with quiet():
            model.save_pretrained(str(folder), state_dict=tensors, max_shard_size=int(shard_gb * 1e9))
    finally:
        model.config.dtype = before
    config = read_json(folder / "config.json") | {"dtype": precision}  # the library writes that of the model in memory
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _as(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return a tensor on the CPU, in `dtype` unless it counts things."""
    return tensor.to("cpu", dtype if tensor.is_floating_point() else tensor.dtype)


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy the tokenizer files, the chat template and the stop tokens beside the weights."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _plain(value: Any) -> Any:
    """Return a configuration as JSON values in an order that does not change from run to run."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(str(entry) for entry in value)
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value.value) if isinstance(value, Enum) else str(value)
