"""A base's config.json through our own allow-list, before any library reads it.

`trust_remote_code=False` is not a boundary: keys of a configuration have named code, attention kernels and paths to be
loaded. Only fields that the architecture's own class declares pass, and of those none that names code or places.
"""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedConfig

from metier.core.errors import ModelError
from metier.core.table import nearest
from metier.model.find import read_json
from metier.model.quiet import LIBRARY_FAULTS, quiet

_FORBIDDEN = {
    "auto_map",
    "trust_remote_code",
    "name_or_path",
    "attn_implementation",
    "experts_implementation",
    "custom_pipelines",
    "quantization_config",
}
_LARGEST = 1 << 31
_MOST_LAYERS = 4096
_LEGACY = {"rope_theta", "rope_scaling", "torch_dtype"}
_UNDECLARED = {
    # Read from an attribute that many architectures' classes do not declare.
    "head_dim",
    # Older names, and what a class derives its declared fields from, taken as further arguments.
    "partial_rotary_factor", "rotary_pct", "rotary_emb_base", "rotary_dim",
    "rope_local_base_freq", "global_rope_theta", "local_rope_theta", "swa_rope_theta",
    "sliding_window_pattern", "sliding_window_size", "use_sliding_window", "global_attn_every_n_layers",
    "full_attention_interval", "use_bidirectional_attention", "global_head_dim", "num_global_key_value_heads",
    "attention_k_eq_v", "num_experts", "first_k_dense_replace", "moe_layer_freq", "dense_intermediate_size",
    "dense_mlp_idx", "clip_qkv", "n_embed", "block_ff_dim", "tie_embedding", "use_falcon_mambapy",
    "hybrid_override_pattern", "mamba_d_conv", "mamba_expand", "mamba_chunk_size", "mamba_conv_bias",
    "mamba_n_groups", "mamba_dt_min", "mamba_dt_max", "mamba_dt_limit", "mamba_dt_init_floor",
    "linear_attn_config", "linear_head_dim", "linear_num_heads", "sparse_attention_config", "per_layer_config",
    "compress_ratios", "compress_rate_csa", "compress_rate_hca", "num_hash_layers", "qk_rope_head_dim",
    "index_topk_freq", "index_topk_pattern", "index_skip_topk_offset", "mtp_config", "mtp_hybrid_override_pattern",
}  # fmt: skip
"""Names beside the declared ones that the library reads: without them another model would be built."""
_FLOATS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


def read_config(folder: Path) -> PreTrainedConfig:
    """Read `folder/config.json` into the library's own class of that architecture.

    Raises:
        ModelError: the architecture is unknown or no causal language model, or a value does not fit.
    """
    raw = read_json(folder / "config.json")
    model_type = raw.get("model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        close = nearest(str(model_type), list(CONFIG_MAPPING.keys()))
        raise ModelError(
            f"{folder}/config.json: model_type {model_type!r}",
            "an architecture that transformers knows",
            f"did you mean {close!r}?" if close else "",
        )
    config_class = CONFIG_MAPPING[model_type]
    if config_class not in AutoModelForCausalLM._model_mapping:
        raise ModelError(f"{folder}/config.json: {model_type!r}", "a causal language model")
    values = allowed(raw, config_class)
    _require_possible(folder, values, {"num_hidden_layers", config_class.attribute_map.get("num_hidden_layers")})
    try:
        with quiet():
            return config_class(**values)
    except LIBRARY_FAULTS as error:
        raise ModelError(f"{folder}/config.json: {error}", f"a valid {model_type} configuration") from error


def allowed(raw: dict[str, Any], config_class: type[PreTrainedConfig]) -> dict[str, Any]:
    """Return the entries of a raw configuration that may reach the library; nested ones are cleaned as well."""
    fields = {field.name for field in dataclasses.fields(config_class)}
    aliases = config_class.attribute_map.items()  # saved under either name
    known = fields | {name for alias in aliases for name in alias} | _LEGACY | _UNDECLARED
    return _clean({name: value for name, value in raw.items() if name in known})


def _clean(value: Any) -> Any:
    """Drop what names code or places, at any depth: a configuration inside a configuration is read just the same."""
    if isinstance(value, dict):
        if list(value) == ["__float__"]:  # how the library writes numbers that JSON has not
            return _FLOATS.get(str(value["__float__"]))
        return {k: _clean(v) for k, v in value.items() if k not in _FORBIDDEN and not k.startswith("_")}
    return [_clean(entry) for entry in value] if isinstance(value, list) else value


def _require_possible(folder: Path, values: dict[str, Any], layer_counts: set[str | None]) -> None:
    """Refuse numbers that would only keep the library busy until memory or patience ends."""
    for name, value in _leaves(values):
        if isinstance(value, float) and math.isnan(value):
            raise ModelError(f"{folder}/config.json: {name} is not a number", "a number")
        most = _MOST_LAYERS if name.rpartition(".")[2] in layer_counts else _LARGEST
        if isinstance(value, int) and abs(value) > most:
            raise ModelError(f"{folder}/config.json: {name} is {value:.3g}", f"at most {most:,}")


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of everything that is no container."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from _leaves(entry, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for entry in value:
            yield from _leaves(entry, name)
    else:
        yield name, value
