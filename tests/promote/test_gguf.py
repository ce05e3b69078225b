"""Files for llama.cpp: loaded by it, they answer as transformers does; what it would compute otherwise is refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM

from metier.core.errors import ModelError
from metier.model.load import load_folder
from metier.model.save import save_whole
from metier.promote.export.gguf import tokens
from metier.promote.export.gguf.lora import write_adapter
from metier.promote.export.gguf.model import library, require_writable, write_model
from metier.promote.far.answers import Next
from metier.promote.far.llama import serving
from metier.promote.settings import GgufPrecision
from metier.text.tokenizer import Tokenizer as Known
from tests.conftest import write_tokenizer

IDS = [1, 40, 90, 33, 120, 77, 200, 41, 90, 33, 150, 60]
PLACES = [3, 8, 12]

SIZES = {
    "vocab_size": 268, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    "initializer_range": 0.2,
}  # fmt: skip

LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip

KINDS: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": False, "head_dim": 32},
    "llama, stretched": {"tie_word_embeddings": True, "rope_parameters": LLAMA3},
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen3": {"head_dim": 16},
    "gemma": {"head_dim": 16},
    "gemma2": {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 4},
    "gemma3_text": {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 4, "num_hidden_layers": 7},
}


def write_base(folder: Path, kind: str, **changes: Any) -> Path:
    config = AutoConfig.for_model(kind.partition(",")[0], **(SIZES | KINDS[kind] | changes))
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("norm.weight", "bias")):
                weight.add_(0.3 * torch.randn(weight.shape))
    folder.mkdir(parents=True, exist_ok=True)
    save_whole(model, folder)
    write_tokenizer(folder)
    return folder


@torch.no_grad()
def expected(model: torch.nn.Module, ids: Sequence[int] = IDS) -> torch.Tensor:
    return model(torch.tensor([ids]), use_cache=False).logits[0].log_softmax(-1)


def furthest(answers: Sequence[Next], wanted: torch.Tensor, places: Sequence[int] = PLACES) -> float:
    """Return the largest difference of a log-probability that llama.cpp tells."""
    return max(
        abs(wanted[place - 1, token].item() - chance)
        for place, answer in zip(places, answers, strict=True)
        for token, chance in answer.chances.items()
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_each_architecture_answers_as_it_does_in_transformers(tmp_path: Path, kind: str) -> None:
    folder = write_base(tmp_path / "base", kind)
    write_model(folder, tmp_path / "model.gguf", precision="f32", name="random")
    model = load_folder(folder).eval()
    with serving(tmp_path / "model.gguf") as far:
        found = furthest(far.following(IDS, PLACES), expected(model))
    assert found < 0.02  # its keys and values are kept in 16 bits


@pytest.mark.parametrize(("precision", "least", "most"), [("f16", 0, 0.05), ("q8_0", 1e-3, 0.5), ("q4_0", 0.05, 5)])
def test_fewer_bits_come_nearly_as_near_as_they_can(
    tmp_path: Path, precision: GgufPrecision, least: float, most: float
) -> None:
    folder = write_base(tmp_path / "base", "llama")
    write_model(folder, tmp_path / "model.gguf", precision=precision, name="random")
    with serving(tmp_path / "model.gguf") as far:
        found = furthest(far.following(IDS, PLACES), expected(load_folder(folder).eval()))
    assert least <= found < most


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("llama", {"mlp_bias": True}, "biases in the MLP"),
    ("llama", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}}, "positions of kind 'yarn'"),
    ("gemma2", {"query_pre_attn_scalar": 64}, "scaled by 64"),
    ("gemma3_text", {"num_hidden_layers": 2, "layer_types": ["full_attention"] * 2}, "another order"),
]


@pytest.mark.parametrize(("kind", "changes", "words"), WRONG)
def test_what_llama_cpp_would_compute_otherwise_is_refused(
    tmp_path: Path, kind: str, changes: dict[str, Any], words: str
) -> None:
    require_writable(write_base(tmp_path / "right", kind))
    with pytest.raises(ModelError, match=words):
        require_writable(write_base(tmp_path / "wrong", kind, **changes))


def test_a_sliding_window_that_is_not_slid_is_all_that_is_read(tmp_path: Path) -> None:
    folder = write_base(tmp_path / "base", "mistral", sliding_window=64)
    write_model(folder, tmp_path / "model.gguf", precision="f32", name="random")
    reader = library().GGUFReader(str(tmp_path / "model.gguf"))
    assert reader.fields["llama.context_length"].contents() == 64


def test_a_vocabulary_that_outgrew_its_embedding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="268 token ids, but 260 rows"):
        require_writable(write_base(tmp_path / "base", "llama", vocab_size=260))


# --- adapters -------------------------------------------------------------------------------------------------------

LORA = {
    "plain": {},
    "rank-stabilised, with patterns": {
        "use_rslora": True, "rank_pattern": {"q_proj": 8}, "alpha_pattern": {"down_proj": 32, "layers.1.*.v_proj": 3},
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", LORA)
def test_an_adapter_changes_llama_cpp_as_it_changes_peft(tmp_path: Path, kind: str) -> None:
    folder = write_base(tmp_path / "base", "llama")
    config = LoraConfig(
        task_type="CAUSAL_LM", r=4, lora_alpha=16, target_modules="all-linear", init_lora_weights=False, **LORA[kind]
    )
    torch.manual_seed(5)
    model = get_peft_model(load_folder(folder), config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.mul_(0.3)
    model.save_pretrained(str(tmp_path / "adapter"))
    write_model(folder, tmp_path / "model.gguf", precision="f32", name="random")
    write_adapter(tmp_path / "adapter", folder, tmp_path / "adapter.gguf", name="random")
    wanted, base = expected(model), expected(load_folder(folder).eval())
    with serving(tmp_path / "model.gguf", tmp_path / "adapter.gguf") as far:
        answers = far.following(IDS, PLACES)
    assert furthest(answers, base) > 0.5
    assert furthest(answers, wanted) < 0.03


@pytest.mark.parametrize(("changes", "words"), [({"use_dora": True}, "DoRA"), ({"modules_to_save": ["norm"]}, "norm")])
def test_an_adapter_that_has_no_place_in_a_file_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    folder = write_base(tmp_path / "base", "llama")
    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"], **changes)
    get_peft_model(load_folder(folder), config).save_pretrained(str(tmp_path / "adapter"))
    with pytest.raises(ModelError, match=words):
        write_adapter(tmp_path / "adapter", folder, tmp_path / "adapter.gguf", name="random")


# --- tokenizers -----------------------------------------------------------------------------------------------------

TEXTS = [
    "Where is parcel 12345, and whose is it?", "  two  spaces\n\n\ttabs \r\n ends ", "don't WE'LL they're o'clock",
    "naïve café Ünïcödé — «quotes» …", "数字と漢字 123 かな",
    "🙂👍🏽 emoji", "a" * 30 + " b1c22d333e4444", "x<|stop|>y", "",
]  # fmt: skip

CUTS = {
    "gpt-2": None,
    "smollm": pre_tokenizers.Digits(individual_digits=True),
    **{name: pre_tokenizers.Split(Regex(cut), "isolated") for cut, (name, _) in tokens._SPLITS.items()},
}


def write_bpe(folder: Path, name: str) -> None:
    """Write a byte-level tokenizer whose words are cut in the way of that name."""
    write_tokenizer(folder)
    first = CUTS[name]
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=name in ("gpt-2", "smollm"))
    tokenizer = Tokenizer(models.BPE(ignore_merges=name == "llama-bpe"))
    tokenizer.pre_tokenizer = last if first is None else pre_tokenizers.Sequence([first, last])
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|begin|>", "<|stop|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))


def write_sentencepiece(folder: Path, name: str) -> None:
    """Write a tokenizer as SentencePiece's BPE becomes one: spaces are letters, unknown letters become bytes."""
    write_tokenizer(folder)
    special = ["<|pad|>", "<|begin|>", "<|stop|>"]
    pieces = [*special, "<unk>", *[f"<0x{byte:02X}>" for byte in range(256)]]
    letters = sorted({letter for text in TEXTS[:3] for letter in text if letter.isascii() and letter.isprintable()})
    merges = [("▁", "w"), ("i", "s"), ("▁", "is"), ("e", "r"), ("h", "er"), ("▁w", "her"), ("p", "a"), ("▁", "▁")]
    vocabulary = {piece: number for number, piece in enumerate([*pieces, "▁", *[x for x in letters if x != " "]])}
    for first, second in merges:
        vocabulary.setdefault(first + second, len(vocabulary))
    model = models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    tokenizer = Tokenizer(model)
    steps = [normalizers.Prepend("▁")] if name == "spaced" else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize("name", [*CUTS, "spaced", "unspaced"])
def test_every_kind_of_tokenizer_cuts_words_as_ours_does(tmp_path: Path, name: str) -> None:
    folder = write_base(tmp_path / "base", "llama", vocab_size=400)
    (write_bpe if name in CUTS else write_sentencepiece)(folder, name)
    write_model(folder, tmp_path / "model.gguf", precision="f32", name="random")
    known = Known.load(folder)
    with serving(tmp_path / "model.gguf") as far:
        found = [far.tokens(text) for text in TEXTS]
    assert found == [known.encode(text, special=True) for text in TEXTS]


def test_stop_tokens_end_an_answer_and_others_do_not(tmp_path: Path) -> None:
    folder = write_base(tmp_path / "base", "llama")
    (folder / "generation_config.json").write_text('{"bos_token_id": 1, "eos_token_id": [2, 9, 10]}')
    write_model(folder, tmp_path / "model.gguf", precision="f32", name="random")
    with serving(tmp_path / "model.gguf") as far:
        assert [far.stops_at(IDS, token) for token in (2, 9, 10, 8, 40)] == [True, True, True, False, False]
    (folder / "generation_config.json").write_text('{"bos_token_id": 1, "eos_token_id": [2, 8, 9, 10]}')
    with pytest.raises(ModelError, match="4 stop tokens"):
        require_writable(folder)
