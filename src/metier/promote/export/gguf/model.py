"""A Hugging Face model folder as one GGUF file. O = outputs, I = inputs of a linear layer."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from transformers import PreTrainedConfig

from metier.core import extras
from metier.core.errors import ModelError
from metier.model.configuration import read_config
from metier.promote.export.gguf import architectures, tokens
from metier.promote.export.gguf.architectures import Architecture
from metier.promote.settings import GgufPrecision
from metier.text.settings import TextSettings
from metier.text.template import choose
from metier.text.tokenizer import Tokenizer

_ENDS = ("token_embd.weight", "output.weight")


def library() -> ModuleType:
    """Return the `gguf` library.

    Raises:
        MissingExtraError: it is not installed.
    """
    extras.require("gguf")
    return import_module("gguf")


def write_model(folder: Path, path: Path, *, precision: GgufPrecision, name: str) -> None:
    """Write a model folder as a GGUF file.

    Args:
        folder: config.json, safetensors, tokenizer and chat template.
        path: the file to make.
        precision: of every matrix; vectors are float32. A matrix whose rows do not fill whole blocks is `f16`.
        name: of the model, for people.

    Raises:
        ModelError: the architecture, its settings or the tokenizer are none that llama.cpp computes alike.
        MissingExtraError: the `gguf` library is not installed.
    """
    gguf, config = library(), read_config(folder)
    architecture = architectures.of(config)
    writer = gguf.GGUFWriter(str(path), architecture.name, use_temp_file=True)
    writer.add_name(name)
    writer.add_file_type(int(_file_type(gguf, precision)))
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for key, value in architectures.values(config, architecture).items():
        _add(writer, f"{architecture.name}.{key}", value)
    tokenizer = Tokenizer.load(folder)
    template, _ = choose(tokenizer, TextSettings())
    tokens.write(tokenizer, int(config.vocab_size), template.source, writer, gguf)
    for place, matrix in _tensors(folder, config, architecture, gguf):
        add_tensor(writer, place, matrix, _kept(place, precision), gguf)
    if architectures.rope(config)["rope_type"] == "llama3":
        add_tensor(writer, "rope_freqs.weight", _llama3_factors(config), "f32", gguf)
    close(writer)


def require_writable(folder: Path) -> None:
    """Check that a base can become a GGUF file, from its configuration and tokenizer alone.

    Raises:
        ModelError: the architecture, its settings or the tokenizer are none that llama.cpp computes alike.
        MissingExtraError: the `gguf` library is not installed.
    """
    gguf, config = library(), read_config(folder)
    architectures.of(config)
    tokenizer = Tokenizer.load(folder)
    tokens.vocabulary(tokenizer, int(config.vocab_size), gguf)
    tokens.named_ids(tokenizer)


def close(writer: Any) -> None:
    """Write what was added and close the file."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tensor(writer: Any, name: str, values: torch.Tensor, precision: GgufPrecision, gguf: ModuleType) -> None:
    """Add a tensor in a number format; vectors stay float32."""
    kind = gguf.GGMLQuantizationType[precision.upper()]
    array = np.ascontiguousarray(values.to(torch.float32).numpy())
    block, _ = gguf.GGML_QUANT_SIZES[kind]
    if array.ndim < 2:
        kind = gguf.GGMLQuantizationType.F32
    elif array.shape[-1] % block:
        kind = gguf.GGMLQuantizationType.F16
    writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)


def names(config: PreTrainedConfig, gguf: ModuleType) -> Any:
    """Return the library's map from transformers' names of weights to llama.cpp's."""
    wanted = architectures.of(config).name
    kind = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == wanted)
    return gguf.get_tensor_name_map(kind, int(config.num_hidden_layers))


def rows_in_order(
    name: str, weight: torch.Tensor, config: PreTrainedConfig, architecture: Architecture
) -> torch.Tensor:
    """Return a weight or a vector [O, …] with its rows as llama.cpp wants them.

    Positions turn pairs of numbers: transformers pairs each with the one half a head further, llama.cpp's Llama with
    its neighbour.
    """
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads or config.num_attention_heads}
    kind = name.split(".")[-2] if name.count(".") else ""
    if not architecture.permuted or kind not in heads:
        return weight
    half = weight.shape[0] // heads[kind] // 2
    return weight.reshape(heads[kind], 2, half, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def _tensors(
    folder: Path, config: PreTrainedConfig, architecture: Architecture, gguf: ModuleType
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (llama.cpp's name, weight float32)."""
    places = names(config, gguf)
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(str(path), framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118 - it is no mapping
                if name == "lm_head.weight" and config.tie_word_embeddings:
                    continue  # the same numbers again: llama.cpp takes the embedding
                place = places.get_name(name, try_suffixes=(".weight", ".bias"))
                if place is None:
                    raise ModelError(
                        f"{path}: {name} has no place in a GGUF file", f"weights of {architecture.name}",
                        "a head of classes or modules of their own cannot be exported so: use --to merged",
                    )  # fmt: skip
                weight = stored.get_tensor(name).float()
                if name.endswith("norm.weight"):
                    weight = weight + architecture.norm_shift
                yield place, rows_in_order(name, weight, config, architecture)


def _kept(place: str, precision: GgufPrecision) -> GgufPrecision:
    return "q8_0" if precision == "q4_0" and place in _ENDS else precision


def _file_type(gguf: ModuleType, precision: GgufPrecision) -> int:
    kind = gguf.LlamaFileType
    return {
        "f32": kind.ALL_F32, "f16": kind.MOSTLY_F16, "bf16": kind.MOSTLY_BF16, "q8_0": kind.MOSTLY_Q8_0,
        "q4_0": kind.MOSTLY_Q4_0,
    }[precision]  # fmt: skip


def _llama3_factors(config: PreTrainedConfig) -> torch.Tensor:
    """Return by how much each frequency is divided, float32 [head / 2]: Llama 3.1's way to longer texts.

    Wavelengths beyond the old context are stretched by `factor`, short ones are left, those between go smoothly over
    (the Llama 3 report, section 3.4.2; as transformers computes it).
    """
    given, width = architectures.rope(config), architectures.head_width(config)
    frequency = given["rope_theta"] ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
    turns = given["original_max_position_embeddings"] * frequency / (2 * torch.pi)
    low, high = given["low_freq_factor"], given["high_freq_factor"]
    smooth = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 / ((1 - smooth) / given["factor"] + smooth)).float()


def _add(writer: Any, key: str, value: int | float | str | bool) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_string(key, value)
