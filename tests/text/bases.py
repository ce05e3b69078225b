"""Small bases made here: a byte-level one, a SentencePiece-like one and a whole-word one, with templates of our own."""

import json
from functools import lru_cache
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from metier.core.types import ChatRow, LabelledRow, Message, TextRow
from metier.text.render import Renderer, open_renderer
from metier.text.settings import TextSettings

SHARED = Path(__file__).resolve().parents[3] / "shared"
"""Real tokenizers and templates; present where this project is developed, tests that want them skip elsewhere."""

SPECIAL = ("<pad>", "<bos>", "<eos>", "<|role|>", "<|end|>", "<tool>")

CHAT = (
    "{{ bos_token }}{% for message in messages %}<|role|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}<tool>{{ call.function.name }} {{ call.function.arguments }}{% endfor %}"
    "<|end|>\n{% endfor %}{% if add_generation_prompt %}<|role|>assistant\n{% endif %}"
)
"""Appends only, never trims: what is written is what is read."""

FORGETFUL = (
    "{{ bos_token }}{% for message in messages %}<|role|>{{ message.role }}\n"
    "{% if message.role == 'assistant' and loop.last %}(thought)\n{% endif %}{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|role|>assistant\n{% endif %}"
)
"""Writes the last answer otherwise than the earlier ones."""

THINKING = (
    "{{ bos_token }}{% for message in messages %}{% set parts = (message.content or '').split('</think>') %}"
    "<|role|>{{ message.role }}\n{% if message.role == 'assistant' and loop.last %}<think>\n"
    "{{ parts[0].split('<think>')[-1].strip() if parts | length > 1 else '' }}\n</think>\n\n{% endif %}"
    "{{ parts[-1].lstrip('\n') }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|role|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""Writes what was thought before the last answer, an empty thought where there was none, and forgets earlier ones."""

CHANNELS = (
    "{{ bos_token }}{% for message in messages %}<|role|>{{ message.role }}"
    "{% if message.thinking is defined and loop.last %} thinks\n{{ message.thinking }}<|role|>assistant{% endif %}"
    "{{ '\n' + message.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|role|>assistant{% endif %}"
)
"""Reads what was thought from a field of its own, as gpt-oss's template does."""

REWRITING = (
    "{{ bos_token }}{{ messages | length }}{% for message in messages %}<|role|>{{ message.content }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|role|>{% endif %}"
)
"""Writes the number of messages first: no prompt is the beginning of what answers it."""

NEXT_STOPS = (
    "{{ bos_token }}{% for message in messages %}<|role|>{{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|role|>{% endif %}"
)
"""Ends no turn: the token that opens the next message is where a server stops."""

_WORDS = "the card is lost and I would like a new one please where can it be found today thank you very much 0 1 2 3 4"


@lru_cache
def byte_level() -> str:
    """Return a small byte-level BPE tokenizer as JSON; ids of SPECIAL are 0…5."""
    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    engine.train_from_iterator([_WORDS, "\n\n", "assistant user system"] * 8, trainer)
    return engine.to_str()


@lru_cache
def sentence_piece() -> str:
    """Return a SentencePiece-like BPE with a dummy space in front of every piece and byte fallback."""
    letters = sorted(set(_WORDS.replace(" ", "▁") + "AUser:stm"))
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters, "▁t", "th", "▁th"]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    merges = [("▁", "t"), ("t", "h"), ("▁t", "h")]
    engine = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    engine.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    engine.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    engine.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    engine.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in ("<unk>", "<s>", "</s>")])
    return engine.to_str()


@lru_cache
def whole_word() -> str:
    """Return a vocabulary of whole words in which the control tokens are words too."""
    words = ["<unk>", *SPECIAL, "<", ">", "|", "/", "role|>", "|end|>", "bos>", "eos>", "hello", "you"]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    engine = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    engine.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    engine.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in SPECIAL])
    return engine.to_str()


def base(
    folder: Path,
    tokenizer: str = "",
    *,
    template: str | None = CHAT,
    stops: tuple[int, ...] = (4, 2),
    context: int | None = 128,
    **config: object,
) -> Path:
    """Write a base folder without weights; `config` goes into tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(tokenizer or byte_level(), encoding="utf-8")
    names = {"bos_token": "<bos>", "eos_token": "<|end|>", "pad_token": "<pad>"} | config
    data = {"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": False} | names
    if template is not None:
        data["chat_template"] = template
    kept = {name: value for name, value in data.items() if value is not None}
    (folder / "tokenizer_config.json").write_text(json.dumps(kept), encoding="utf-8")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": list(stops)}), encoding="utf-8")
    if context is not None:
        (folder / "config.json").write_text(json.dumps({"max_position_embeddings": context}), encoding="utf-8")
    return folder


def sentence_piece_base(folder: Path) -> Path:
    """Write a base like the smallest Llamas: no template, a dummy space, ids 1 and 2 begin and end."""
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": None}
    return base(folder, sentence_piece(), template=None, stops=(1, 2), **names)


def opened(folder: Path, **settings: object) -> Renderer:
    """Open a renderer with some settings."""
    return open_renderer(folder, TextSettings.model_validate(settings))


def chat(*turns: tuple[str, str] | Message, row_id: str = "row", **fields: object) -> ChatRow:
    """Make a conversation of (role, content) pairs."""
    messages = tuple(turn if isinstance(turn, Message) else Message(role=turn[0], content=turn[1]) for turn in turns)
    return ChatRow(id=row_id, source=f"rows.jsonl:{row_id}", messages=messages, **fields)


def labelled(text: str, label: str, number: int = 0) -> LabelledRow:
    """Make a labelled row."""
    return LabelledRow(id=f"l{number}", source=f"rows.jsonl:{number}", text=text, label=label)


def plain(text: str, number: int = 0) -> TextRow:
    """Make a row of plain text."""
    return TextRow(id=f"t{number}", source=f"rows.jsonl:{number}", text=text)
