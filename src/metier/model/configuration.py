"""A base's config.json through our own allow-list, before any library reads it.

`trust_remote_code=False` is not a boundary: keys of a configuration have named code, attention kernels and paths to be
loaded. Only fields that the architecture's own class declares pass, and of those none that names code or places.
"""

import dataclasses
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedConfig

from metier.core.errors import ModelError
from metier.core.table import nearest
from metier.model.find import read_json

_FORBIDDEN = {
    "auto_map",
    "trust_remote_code",
    "name_or_path",
    "attn_implementation",
    "experts_implementation",
    "custom_pipelines",
    "quantization_config",
}
_LEGACY = {"rope_theta", "rope_scaling", "torch_dtype"}


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
    try:
        return config_class(**allowed(raw, config_class))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{folder}/config.json: {error}", f"a valid {model_type} configuration") from error


def allowed(raw: dict[str, Any], config_class: type[PreTrainedConfig]) -> dict[str, Any]:
    """Return the entries of a raw configuration that may reach the library."""
    known = {field.name for field in dataclasses.fields(config_class)} | set(config_class.attribute_map) | _LEGACY
    return {
        name: value
        for name, value in raw.items()
        if name in known and name not in _FORBIDDEN and not name.startswith("_")
    }
