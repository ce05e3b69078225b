"""The models that are served: the timed shapes with random weights, and a tokenizer that every server can read.

Prompts are words of one token each, so that the number of tokens is known; no two prompts begin alike.
"""

import json
import random
import shutil
from collections.abc import Sequence
from functools import cache as once
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from bench import shapes
from bench.places import cache, shared

_TEXTS = ("wikitext2-valid", "tinystories-sample", "tiny-shakespeare", "devils-dictionary", "pepys-diary")
_SPECIAL = ("<|pad|>", "<|end|>", "<|user|>", "<|assistant|>")
_TEMPLATE = (
    "{%- for message in messages -%}{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def folder(name: str) -> Path:
    """Return the Hugging Face folder of a shape with a byte-level BPE tokenizer, made when absent."""
    target = cache() / "models" / f"serve-{name}"
    if not (target / "complete").is_file():
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        shapes.random_model(name).save_pretrained(target)
        _write_tokenizer(shapes.SHAPES[name].vocabulary, target)
        (target / "complete").touch()
    return target


def prompts(name: str, count: int, words: int, seed: int) -> list[str]:
    """Return texts of so many tokens, each with a beginning of its own."""
    known, chance = _words(folder(name)), random.Random(seed)
    return ["".join(chance.choices(known, k=words)).strip() for _ in range(count)]


@once
def _words(target: Path) -> Sequence[str]:
    """Return tokens that are a space and a word of small letters."""
    tokens = json.loads((target / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    return sorted(
        f" {token[1:]}" for token in tokens if token[0] == "Ġ" and token[1:].isascii() and token[1:].islower()
    )


def _write_tokenizer(vocabulary: int, target: Path) -> None:
    """Train byte-level BPE on what is at hand and fill it up to exactly so many tokens."""
    files = [str(path) for name in _TEXTS for path in sorted((shared() / "data" / name).rglob("*")) if path.is_file()]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=list(_SPECIAL), initial_alphabet=alphabet)
    tokenizer.train([path for path in files if Path(path).suffix in {".txt", ".jsonl", ".tokens"}], trainer)
    missing = vocabulary - tokenizer.get_vocab_size()
    tokenizer.add_tokens([AddedToken(f"<|unused{number}|>", normalized=False) for number in range(missing)])
    tokenizer.save(str(target / "tokenizer.json"))
    facts = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|end|>",
        "pad_token": "<|pad|>",
        "model_max_length": 2048,
        "clean_up_tokenization_spaces": False,
        "chat_template": _TEMPLATE,
    }
    (target / "tokenizer_config.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    (target / "chat_template.jinja").write_text(_TEMPLATE, encoding="utf-8")
