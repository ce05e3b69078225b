"""The models that are timed: Llama shapes with random weights, and a tokenizer whose text and ids are one and the same.

Their vocabulary is word-level: token 17 is written "w17". So a row given as text (to a peer that wants text) and as ids
(to one that takes ids) is the same row, token for token.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.places import cache

SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
PAD, END, SYSTEM, USER, ASSISTANT = range(len(SPECIAL))

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{% generation %}{{- message['content'] + '<|end|>' -}}{% endgeneration %}"
    "{%- else -%}{{- message['content'] + '<|end|>' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a Llama model; `tied`: the head is the embedding."""

    hidden: int
    layers: int
    heads: int
    key_heads: int
    middle: int
    vocabulary: int
    tied: bool = True

    @property
    def body(self) -> int:
        """Weights in the linear layers below the head: what a token is multiplied with."""
        width = self.hidden // self.heads
        attention = 2 * self.hidden**2 + 2 * self.hidden * self.key_heads * width
        return self.layers * (attention + 3 * self.hidden * self.middle)

    @property
    def head(self) -> int:
        """Weights of the head: what a label's hidden state is multiplied with."""
        return self.hidden * self.vocabulary

    @property
    def config(self) -> dict[str, Any]:
        """The same as arguments of `LlamaConfig`."""
        return {
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_heads,
            "intermediate_size": self.middle,
            "vocab_size": self.vocabulary,
            "tie_word_embeddings": self.tied,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-5,
            "bos_token_id": None,
            "eos_token_id": END,
            "pad_token_id": PAD,
        }


SHAPES = {
    "tiny": Shape(hidden=32, layers=2, heads=2, key_heads=1, middle=64, vocabulary=256),
    "S": Shape(hidden=288, layers=6, heads=6, key_heads=6, middle=768, vocabulary=32_000),
    "M": Shape(hidden=576, layers=30, heads=9, key_heads=3, middle=1536, vocabulary=49_152),
    "40M": Shape(hidden=512, layers=8, heads=8, key_heads=4, middle=1408, vocabulary=32_000),
    "8B": Shape(hidden=4096, layers=32, heads=32, key_heads=8, middle=14_336, vocabulary=128_256, tied=False),
}


def folder(name: str, *, weights: bool = True) -> Path:
    """Return the Hugging Face folder of a shape, made when absent: float32 weights (unless told not to), tokenizer."""
    target = cache() / "models" / (name if weights else f"{name}-config")
    if not (target / "complete").is_file():
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        write_tokenizer(SHAPES[name].vocabulary, target)
        _write_model(SHAPES[name], target, weights=weights)
        (target / "complete").touch()
    return target


def random_model(name: str, *, seed: int = 0, dtype: Any = None) -> Any:
    """Return a `LlamaForCausalLM` of a shape with random weights, on torch's default device, float32 unless told."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(**SHAPES[name].config)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype or torch.float32)
    try:
        return LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)


def write_tokenizer(vocabulary: int, target: Path) -> None:
    """Write a fast tokenizer of exactly `vocabulary` words, with a chat template that marks what is generated."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    words = [*SPECIAL, *(word(number) for number in range(len(SPECIAL), vocabulary))]
    ids = {text: number for number, text in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=SPECIAL[PAD]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)  # words joined by one space
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    tokenizer.save(str(target / "tokenizer.json"))
    facts = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": SPECIAL[END],
        "pad_token": SPECIAL[PAD],
        "model_max_length": 2048,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    (target / "tokenizer_config.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    (target / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")


def word(token: int) -> str:
    """Return how a token is written."""
    return f"w{token}"


def _write_model(shape: Shape, target: Path, *, weights: bool) -> None:
    name = next(key for key, value in SHAPES.items() if value == shape)
    if weights:
        random_model(name).save_pretrained(target)
        return
    from transformers import LlamaConfig

    LlamaConfig(**shape.config, architectures=["LlamaForCausalLM"]).save_pretrained(target)
