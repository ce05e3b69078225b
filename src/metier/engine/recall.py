"""What a model keeps of what it has read: the library's cache, or one of the model's own kind."""

import inspect
from typing import Any

import torch
from transformers import Cache, DynamicCache, GenerationMixin, PreTrainedConfig
from transformers.utils import ModelOutput

from metier.core.errors import ModelError
from metier.forest.attend import inner_model


def text_config(model: torch.nn.Module) -> PreTrainedConfig:
    """Return the configuration of the part that reads and writes text."""
    config = model.config
    assert isinstance(config, PreTrainedConfig)
    return config.get_text_config(decoder=True)


def fresh_cache(model: torch.nn.Module) -> DynamicCache | None:
    """Return the cache that a model begins with; None: it takes none but of its own kind, and makes that itself."""
    inner = inner_model(model)
    if isinstance(inner, GenerationMixin) and not inner._supports_default_dynamic_cache():  # pyrefly: ignore
        return None
    return DynamicCache(config=text_config(model))


def cache_of(model: torch.nn.Module, output: ModelOutput) -> Cache:
    """Return the cache that a model has made while it read.

    Raises:
        ModelError: it has made none that could be handed back to it.
    """
    cache = output.get("past_key_values")
    if not isinstance(cache, Cache):
        raise ModelError(
            f"{type(inner_model(model)).__name__}: remembers what it has read in a way of its own",
            "an architecture whose memory is a cache of transformers",
        )
    return cache


def remembering(model: torch.nn.Module, cache: Cache | None, mask: torch.Tensor) -> dict[str, Any]:
    """Return the arguments by which a model goes on behind what it has read.

    Mamba's models call their cache otherwise, and take one by the usual name without a word and then remember nothing;
    a mask of what lies behind they would lay over the new token. Their rows come unpadded.

    Args:
        model: any causal model of the library.
        cache: what it has read so far; filled further. None: it has read nothing, and makes a cache of its own kind.
        mask: 1 for a token, 0 for padding, int64 [B, all tokens so far].
    """
    if "cache_params" in inspect.signature(inner_model(model).forward).parameters:
        return {"use_cache": True, "cache_params": cache}
    return {"use_cache": True, "past_key_values": cache, "attention_mask": mask}
