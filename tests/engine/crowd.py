"""Ask an engine several things at once and gather what it says."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    Mamba2Config,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
)

from metier.engine.decoder import Engine
from metier.engine.request import Chance, End, Event, Piece, Request

VOCABULARY = 60
SMALL = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.4,
}  # fmt: skip
CONFIGS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**SMALL),
    "qwen3": Qwen3Config(**SMALL, head_dim=8),
    "gpt2": GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=256, initializer_range=0.4),
    "gemma2": Gemma2Config(**SMALL, head_dim=8, sliding_window=8),
    "mistral": MistralConfig(**SMALL, sliding_window=6),
    "mamba2": Mamba2Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_heads=8,
        head_dim=8,
        expand=2,
        state_size=16,
        n_groups=2,
        chunk_size=16,
        num_hidden_layers=2,
        initializer_range=0.4,
    ),
}


@dataclass(slots=True)
class Said:
    """What an engine said to one request."""

    tokens: list[int] = field(default_factory=list)
    text: str = ""
    chances: list[Chance | None] = field(default_factory=list)
    end: End | None = None

    def hear(self, event: Event) -> None:
        self.text += event.text
        if isinstance(event, Piece):
            self.tokens.append(event.token)
            self.chances.append(event.chance)
        else:
            self.end = event


def build(kind: str = "llama", seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(copy.deepcopy(CONFIGS[kind]), dtype=torch.float32).eval()


def prompts(count: int, longest: int = 70, seed: int = 1) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(3, VOCABULARY, int(random.integers(1, longest))).tolist() for _ in range(count)]


def ask(engine: Engine, asked: Sequence[dict[str, Any]]) -> list[Said]:
    """Submit everything, then let the engine work until it is done."""
    said = [Said() for _ in asked]
    for answer, options in zip(said, asked, strict=True):
        engine.submit(Request(**({"listen": partial(Said.hear, answer), "most_tokens": 12} | options)))
    while engine.busy():
        engine.step()
    assert all(answer.end is not None for answer in said)
    return said
