"""A tokenizer.json as llama.cpp reads vocabularies: byte-level BPE by its name, or SentencePiece's kind by scores.

V = number of token ids.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from metier.core.errors import ModelError
from metier.text.tokenizer import Tokenizer

_GPT2 = ("gpt-2", False)
_BEFORE = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_BEHIND = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {
    _BEFORE + r"\p{N}{1,3}" + _BEHIND: ("llama-bpe", True),
    _BEFORE + r"\p{N}" + _BEHIND: ("qwen2", False),
}
"""Regular expression that cuts words -> (llama.cpp's name of it, whether whole words skip the merges there)."""
_KNOWN_ENDS = ("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>", "<EOT>")
"""Texts of tokens at which llama.cpp stops whatever a file says."""
_WORST = -1e9
_NO_MERGE = "\x01 \x01"
"""Stands for "none" in a file that must name one: no byte is spelt so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What a GGUF file says of a tokenizer. `kind`: "gpt2" (byte-level BPE) or "llama" (SentencePiece's BPE).

    `texts`, `types`, `scores` [V]; `merges` of BPE; `pre`: llama.cpp's name of how words are cut.
    """

    kind: str
    pre: str
    texts: list[str]
    types: list[int]
    scores: list[float]
    merges: list[str]
    space_prefix: bool


def vocabulary(tokenizer: Tokenizer, size: int, library: ModuleType) -> Vocabulary:
    """Describe a tokenizer, with as many tokens as the model has rows.

    Args:
        tokenizer: of the model's folder.
        size: rows of the embedding; ids that the tokenizer does not have become unused tokens.
        library: `gguf`.

    Raises:
        ModelError: the model has fewer rows than the tokenizer has ids, or llama.cpp would cut words otherwise.
    """
    data = json.loads(tokenizer.as_json())
    if data["model"]["type"] != "BPE":
        raise _unknown(f"a model of type {data['model']['type']}")
    if size < tokenizer.vocabulary:
        raise ModelError(
            f"{tokenizer.folder}: {tokenizer.vocabulary:,} token ids, but {size:,} rows of the embedding",
            "a row for every id", "the vocabulary was resized without its weights: train again",
        )  # fmt: skip
    spm = bool(data["model"].get("byte_fallback"))
    pre, prefix = ("default", _space_prefix(data)) if spm else (_cut(data), False)
    texts, types = _tokens(tokenizer, data, size, library)
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in data["model"]["merges"]]
    return Vocabulary(
        kind="llama" if spm else "gpt2",
        pre=pre,
        texts=texts,
        types=types,
        scores=_scores(data["model"]["merges"], texts, types, library) if spm else [],
        merges=[] if spm else merges or [_NO_MERGE],
        space_prefix=prefix,
    )


def write(tokenizer: Tokenizer, size: int, template: str, writer: Any, library: ModuleType) -> None:
    """Write a tokenizer, its stop tokens and the chat template into a file.

    Raises:
        ModelError: as `vocabulary`; more stop tokens than a file can name.
    """
    found = vocabulary(tokenizer, size, library)
    writer.add_tokenizer_model(found.kind)
    writer.add_tokenizer_pre(found.pre)
    writer.add_token_list(found.texts)
    writer.add_token_types(found.types)
    if found.kind == "llama":
        writer.add_token_scores(found.scores)
        writer.add_add_space_prefix(found.space_prefix)
    else:
        writer.add_token_merges(found.merges)
    for name, number in (named_ids(tokenizer)).items():
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id", number)
    writer.add_add_bos_token(tokenizer.adds_bos)
    writer.add_add_eos_token(False)
    writer.add_chat_template(template)


def named_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Return the ids that a file names; the stop tokens are the ends of text, of a turn and of a message.

    Raises:
        ModelError: more stop tokens than these, beside those at which llama.cpp stops by itself.
    """
    spelt = {number: text for text, number in tokenizer.special_tokens.items()}
    stops = sorted(tokenizer.stop_ids, key=lambda number: spelt.get(number) in _KNOWN_ENDS)
    places = ("eos", "eot", "eom")
    left = [number for number in stops[len(places) :] if spelt.get(number) not in _KNOWN_ENDS]
    if left or not stops:
        raise ModelError(
            f"{tokenizer.folder}: {len(stops)} stop tokens", "one to three, which is what a GGUF file can name"
        )
    named = {"bos": tokenizer.bos_id, "padding": tokenizer.pad_id, **dict(zip(places, stops, strict=False))}
    return {name: number for name, number in named.items() if number is not None}


def _cut(data: Mapping[str, Any]) -> str:
    """Return llama.cpp's name of how a byte-level tokenizer cuts words."""
    steps = _steps(data["pre_tokenizer"])
    kinds = [step["type"] for step in steps]
    name, skips = "", False
    if kinds[-1:] == ["ByteLevel"] and not steps[-1].get("add_prefix_space"):
        own = steps[-1].get("use_regex", True)
        if kinds == ["ByteLevel"] and own:
            name, skips = _GPT2
        elif kinds == ["Digits", "ByteLevel"] and own and steps[0].get("individual_digits"):
            name, skips = "smollm", False
        elif kinds == ["Split", "ByteLevel"] and not own and steps[0].get("behavior") == "Isolated":
            name, skips = _SPLITS.get(str(steps[0]["pattern"].get("Regex")), ("", False))
    normalizer = data["normalizer"]
    if not name or (normalizer is not None and normalizer["type"] != "NFC"):
        raise _unknown("a way of cutting or rewriting words")
    if skips != bool(data["model"].get("ignore_merges")):
        raise _unknown("a way of merging pieces")
    return name


def _space_prefix(data: Mapping[str, Any]) -> bool:
    """Tell whether a SentencePiece kind of tokenizer puts a space in front of a text."""
    normal, pre = _steps(data["normalizer"]), _steps(data["pre_tokenizer"])
    kinds = [step["type"] for step in (*normal, *pre)]
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    if kinds == ["Metaspace"]:
        return pre[0].get("prepend_scheme", "always") != "never"
    if kinds in (["Prepend", "Replace"], ["Replace"], ["Replace", "Split"]) and spaces in normal:
        return kinds[0] == "Prepend"
    raise _unknown("a way of rewriting spaces")


def _steps(part: Mapping[str, Any] | None) -> list[Any]:
    if part is None:
        return []
    return list(part.get("pretokenizers") or part.get("normalizers") or ()) if part["type"] == "Sequence" else [part]


def _tokens(
    tokenizer: Tokenizer, data: Mapping[str, Any], size: int, library: ModuleType
) -> tuple[list[str], list[int]]:
    """Return how each id is spelt and what it is."""
    kind = library.TokenType
    spelt: dict[int, str] = {number: text for text, number in data["model"]["vocab"].items()}
    types = dict.fromkeys(spelt, kind.NORMAL)
    if data["model"].get("byte_fallback"):
        types |= {spelt_as: kind.BYTE for spelt_as, text in spelt.items() if _is_byte(text)}
    for token in data["added_tokens"]:
        spelt[token["id"]] = token["content"]
        types[token["id"]] = kind.CONTROL if token["content"] in tokenizer.special_tokens else kind.USER_DEFINED
    unknown = data["model"].get("unk_token")
    if unknown is not None and unknown in data["model"]["vocab"]:
        types[data["model"]["vocab"][unknown]] = kind.UNKNOWN
    texts = [spelt.get(number, f"[unused {number}]") for number in range(size)]
    return texts, [int(types.get(number, kind.UNUSED)) for number in range(size)]


def _is_byte(text: str) -> bool:
    return len(text) == 6 and text.startswith("<0x") and text.endswith(">")


def _scores(merges: list[Any], texts: list[str], types: list[int], library: ModuleType) -> list[float]:
    """Return the order in which pieces are joined as scores: the sooner, the higher; what no merge makes comes last."""
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(merges):
        first, second = pair.split(" ", 1) if isinstance(pair, str) else pair
        ranks.setdefault(first + second, rank)
    free = {int(library.TokenType.BYTE), int(library.TokenType.CONTROL)}
    return [0.0 if kind in free else float(-ranks.get(text, -_WORST)) for text, kind in zip(texts, types, strict=True)]


def _unknown(what: str) -> ModelError:
    return ModelError(
        f"tokenizer: {what} that llama.cpp has no name for", "byte-level BPE as of GPT-2, SmolLM, Llama 3 or Qwen, or"
        " SentencePiece's BPE with bytes to fall back on", "export it --to merged",
    )  # fmt: skip
