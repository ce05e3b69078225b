"""Trains the byte-level BPE tokenizer and writes it with the base model's side files."""

import argparse
import json
import random
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from metier.bundled.tiny.recipe import configuration, sources
from metier.bundled.tiny.recipe.chat import read_template

SEED = 20
PIECE_CHARACTERS = 20_000
SAMPLE_BYTES = {
    sources.BOOKS: 12_000_000,
    sources.TEXTBOOKS: 9_000_000,
    sources.DIALOGUES: 4_000_000,
    sources.SHORT_INSTRUCTIONS: 2_000_000,
}
INSTRUCTION_BYTES = 4_000_000
DISK_LIMIT_BYTES = 16_000_000


def sample_pieces(texts: list[str], budget: int, seed: int) -> list[str]:
    """Return shuffled pieces of the texts, `budget` UTF-8 bytes of them at most (all when there are fewer)."""
    pieces = [text[at : at + PIECE_CHARACTERS] for text in texts for at in range(0, len(text), PIECE_CHARACTERS)]
    random.Random(seed).shuffle(pieces)
    chosen, used = [], 0
    for piece in pieces:
        size = len(piece.encode("utf-8"))
        if used + size > budget:
            break
        chosen.append(piece)
        used += size
    return chosen


def read_sample(corpus: Path, instructions: Path) -> list[str]:
    """Return the training sample: every source by its budget, then the contents of generated chats."""
    sample = []
    for source, budget in SAMPLE_BYTES.items():
        sample += sample_pieces(sources.read_texts(corpus, source), budget, SEED)
    contents = [message["content"] for row in sources.read_jsonl(instructions) for message in row["messages"]]
    return sample + sample_pieces(contents, INSTRUCTION_BYTES, SEED)


def train_tokenizer(sample: list[str]) -> Tokenizer:
    """Train the byte-level BPE: digits one by one, words split as GPT-2 does, no token added to a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=configuration.VOCABULARY_SIZE,
        special_tokens=list(configuration.SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample, trainer=trainer, length=len(sample))
    return tokenizer


def write_side_files(folder: Path) -> None:
    """Write the configuration files and the chat template next to tokenizer.json."""
    files = {
        "config.json": configuration.model_configuration(),
        "generation_config.json": configuration.generation_configuration(),
        "tokenizer_config.json": configuration.tokenizer_configuration(),
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").write_text(read_template(), encoding="utf-8")


def check_tokenizer(tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer whose special tokens or round trip are not what the model is built for."""
    for number, token in enumerate(configuration.SPECIAL_TOKENS):
        if tokenizer.token_to_id(token) != number:
            raise ValueError(f"{token} should be token {number}")
    if tokenizer.get_vocab_size() != configuration.VOCABULARY_SIZE:
        raise ValueError(f"the vocabulary has {tokenizer.get_vocab_size()} tokens")
    text = 'A café, 2048 "words"\n\n  {"key": [1, true]} — and  more 😀'
    if tokenizer.decode(tokenizer.encode(text).ids) != text:
        raise ValueError("encoding and decoding does not give the text back")


def main() -> None:
    """Train the tokenizer, write the folder and print what the model will weigh."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--instructions", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    sample = read_sample(options.corpus, options.instructions)
    tokenizer = train_tokenizer(sample)
    check_tokenizer(tokenizer)
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(options.out / "tokenizer.json"))
    write_side_files(options.out)
    parameters = configuration.parameter_count(configuration.model_configuration())
    disk = 2 * parameters + sum(file.stat().st_size for file in options.out.iterdir() if file.suffix != ".safetensors")
    if disk > DISK_LIMIT_BYTES:
        raise ValueError(f"{disk} bytes on disk, {DISK_LIMIT_BYTES} at most")
    report = {
        "sample_bytes": sum(len(piece.encode("utf-8")) for piece in sample),
        "vocabulary": tokenizer.get_vocab_size(),
        "parameters": parameters,
        "bytes_on_disk": disk,
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
