"""Tiny random models of many architectures, built by the library's own classes."""

from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from metier.core.types import Sequence

VOCABULARY = 64
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
HALF_SLIDING = {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]}
LATENT = {
    "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "num_key_value_heads": 4, "n_routed_experts": 4, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
}  # fmt: skip
MOE = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "vocab_size": VOCABULARY, "initializer_range": 0.3}
GPT2 |= {"bos_token_id": 1, "eos_token_id": 2}

PACKABLE: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", SMALL),
    "qwen3": ("qwen3", SMALL),
    "mistral, sliding": ("mistral", SMALL | {"sliding_window": 6}),
    "gemma2, softcap and sliding": (
        "gemma2",
        SMALL | HALF_SLIDING | {"attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 8},
    ),
    "gemma3, sliding": ("gemma3_text", SMALL | HALF_SLIDING | {"query_pre_attn_scalar": 8}),
    "gpt2": ("gpt2", GPT2),
    "olmo2": ("olmo2", {name: value for name, value in SMALL.items() if name != "head_dim"}),
    "qwen3_moe": ("qwen3_moe", SMALL | MOE | {"num_experts": 4}),
    "mixtral": ("mixtral", SMALL | MOE | {"num_local_experts": 4}),
    "stablelm": ("stablelm", {name: value for name, value in SMALL.items() if name != "head_dim"}),
    "nemotron": ("nemotron", SMALL),
    "deepseek_v3": (
        "deepseek_v3",
        {name: value for name, value in SMALL.items() if name != "head_dim"} | MOE | LATENT,
    ),
}

RECURRENT: dict[str, tuple[str, dict[str, Any]]] = {
    "mamba2": (
        "mamba2",
        {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_heads": 8, "head_dim": 8}
        | {"state_size": 8, "expand": 2, "n_groups": 1, "chunk_size": 8, "initializer_range": 0.3}
        | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    ),
    "lfm2": ("lfm2", SMALL | {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False}),
}


def build(kind: tuple[str, dict[str, Any]], dtype: torch.dtype = torch.float64) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind[0], **kind[1])
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).to(dtype).eval()


def sequences(lengths: tuple[int, ...], seed: int = 0) -> list[Sequence]:
    random = np.random.default_rng(seed)
    return [
        Sequence(
            ids=random.integers(3, VOCABULARY, length).astype(np.int32),
            weights=np.array([0.0] + [1.0] * (length - 1), dtype=np.float32),
            row_id=str(number),
        )
        for number, length in enumerate(lengths)
    ]
