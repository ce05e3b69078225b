"""What llama.cpp computes of the architectures that it knows, and what of their configurations it would get wrong.

Each line was checked with a random model of that kind: its file in float32, loaded by llama.cpp, answers as
transformers does (tests/promote/test_gguf.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig

from metier.core.errors import ModelError

Values = dict[str, int | float | str | bool]
"""Keys of a GGUF file behind the architecture's name -> value."""

_ROPES = ("default", "linear", "llama3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """How a kind of model becomes a file.

    `name`: llama.cpp's. `permuted`: rows of the query and key weights stand in the order of Llama's first release.
    `norm_shift`: added to every norm weight. `more`: further keys. `wrong`: why this configuration would be computed
    otherwise, or "".
    """

    name: str
    permuted: bool = False
    norm_shift: float = 0.0
    more: Callable[[PreTrainedConfig], Values]
    wrong: Callable[[PreTrainedConfig], str]


def of(config: PreTrainedConfig) -> Architecture:
    """Return how the model of a configuration is written.

    Raises:
        ModelError: llama.cpp has no such architecture that we could check, or would compute this one otherwise.
    """
    found = ARCHITECTURES.get(str(config.model_type))
    if found is None:
        raise ModelError(
            f"architecture {config.model_type!r}: not written as GGUF", f"one of {', '.join(ARCHITECTURES)}",
            "export it --to merged, which transformers and vLLM load",
        )  # fmt: skip
    if reason := found.wrong(config) or _wrong_rope(config):
        raise ModelError(f"{config.model_type}: llama.cpp would compute it otherwise: {reason}", "", "use --to merged")
    return found


def values(config: PreTrainedConfig, architecture: Architecture) -> Values:
    """Return the keys that describe a model to llama.cpp."""
    heads = int(config.num_attention_heads)
    width = head_width(config)
    common: Values = {
        "context_length": _context(config),
        "embedding_length": int(config.hidden_size),
        "block_count": int(config.num_hidden_layers),
        "feed_forward_length": int(config.intermediate_size),
        "attention.head_count": heads,
        "attention.head_count_kv": int(config.num_key_value_heads or heads),
        "attention.key_length": width,
        "attention.value_length": width,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.dimension_count": width,
        "rope.freq_base": float(rope(config)["rope_theta"]),
        "vocab_size": int(config.vocab_size),
    }
    if rope(config)["rope_type"] == "linear":
        common |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope(config)["factor"])}
    return common | architecture.more(config)


def head_width(config: PreTrainedConfig) -> int:
    """Return the numbers in a head."""
    return int(vars(config).get("head_dim") or config.hidden_size // config.num_attention_heads)


def rope(config: PreTrainedConfig) -> Mapping[str, Any]:
    """Return how positions turn queries and keys, in layers that look at everything."""
    parameters = config.rope_parameters
    return parameters.get("full_attention", parameters)


def _context(config: PreTrainedConfig) -> int:
    """Return the tokens that may be read: within a sliding window that llama.cpp does not slide, that is the window."""
    window = vars(config).get("sliding_window")
    whole = int(config.max_position_embeddings)
    return min(whole, int(window)) if window and config.model_type == "mistral" else whole


def _wrong_rope(config: PreTrainedConfig) -> str:
    kind = rope(config)["rope_type"]
    partial = rope(config).get("partial_rotary_factor", 1.0)
    if kind not in _ROPES:
        return f"positions of kind {kind!r}"
    return "" if partial == 1.0 else f"positions that turn only {partial:g} of each head"


def _nothing(config: PreTrainedConfig) -> Values:
    return {}


def _fine(config: PreTrainedConfig) -> str:
    return ""


def _silu(config: PreTrainedConfig) -> str:
    if config.hidden_act != "silu":
        return f"activation {config.hidden_act!r}"
    return "biases in the MLP" if vars(config).get("mlp_bias") else ""


def _qwen(config: PreTrainedConfig) -> str:
    return "sliding windows" if vars(config).get("use_sliding_window") else _silu(config)


def _window(config: PreTrainedConfig) -> Values:
    return {"attention.sliding_window": int(config.sliding_window)}


def _gemma2_keys(config: PreTrainedConfig) -> Values:
    caps = {
        "attn_logit_softcapping": config.attn_logit_softcapping,
        "final_logit_softcapping": config.final_logit_softcapping,
    }
    return _window(config) | {name: float(cap) for name, cap in caps.items() if cap is not None}


def _gemma(config: PreTrainedConfig) -> str:
    act = vars(config).get("hidden_activation") or config.hidden_act
    return "" if act == "gelu_pytorch_tanh" else f"activation {act!r}"


def _gemma2(config: PreTrainedConfig) -> str:
    every_other = ["sliding_attention" if layer % 2 == 0 else "full_attention" for layer in range(_depth(config))]
    return _gemma(config) or _scaled(config) or _layers(config, every_other)


def _gemma3(config: PreTrainedConfig) -> str:
    one_in_six = ["full_attention" if layer % 6 == 5 else "sliding_attention" for layer in range(_depth(config))]
    near = config.rope_parameters.get("sliding_attention", {}).get("rope_theta", 10_000.0)
    if near != 10_000.0:
        return f"positions of base {near:g} in its sliding layers"
    return _gemma(config) or _scaled(config) or _layers(config, one_in_six)


def _depth(config: PreTrainedConfig) -> int:
    return int(config.num_hidden_layers)


def _scaled(config: PreTrainedConfig) -> str:
    scalar = config.query_pre_attn_scalar
    return "" if scalar == head_width(config) else f"attention scaled by {scalar:g}, not by the width of its heads"


def _layers(config: PreTrainedConfig, known: list[str]) -> str:
    return "" if list(config.layer_types) == known else "another order of sliding and full layers"


ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture(name="llama", permuted=True, more=_nothing, wrong=_silu),
    "mistral": Architecture(name="llama", permuted=True, more=_nothing, wrong=_silu),
    "qwen2": Architecture(name="qwen2", more=_nothing, wrong=_qwen),
    "qwen3": Architecture(name="qwen3", more=_nothing, wrong=_qwen),
    "gemma": Architecture(name="gemma", norm_shift=1.0, more=_nothing, wrong=_gemma),
    "gemma2": Architecture(name="gemma2", norm_shift=1.0, more=_gemma2_keys, wrong=_gemma2),
    "gemma3_text": Architecture(name="gemma3", norm_shift=1.0, more=_window, wrong=_gemma3),
}
"""`model_type` of config.json -> how it is written."""
