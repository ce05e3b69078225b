"""Measures a base model on the CPU: WikiText-2, BLiMP, LAMBADA and a few greedy samples."""

import argparse
import json
import math
import random
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from metier.bundled.tiny.recipe.sources import read_jsonl

STORY_STARTS = (
    "Once upon a time there was a little girl who lived",
    "It was a dark evening in November, and the old captain",
    "The cell is the smallest unit of",
)
CHAT_PROMPTS = (
    "What is the capital of France?",
    "Extract name, city as JSON.\nMy friend Emma, aged 31, comes from Lisbon.",
    "Classify the message as one of: happy, sad. Reply with the label only.\n\nI lost my best friend today.",
)
BATCH = 64
IGNORED = -100


@dataclass(frozen=True)
class Subject:
    """A model and its tokenizer, with the longest window it takes."""

    model: Any
    tokenizer: Any
    window: int

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text after the begin token.

        Special tokens are split: WikiText's `<unk>` must be scored as the five letters it is, by every model.
        """
        begin = self.tokenizer.bos_token_id
        ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids if begin is None else [begin, *ids]


def load_subject(folder: Path, window: int) -> Subject:
    """Load a model folder in float32 for the CPU."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    return Subject(model, tokenizer, min(window, model.config.max_position_embeddings))


def _token_losses(subject: Subject, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the loss of each label in nats, zero where the label is ignored."""
    logits = subject.model(input_ids=ids, use_cache=False).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1), ignore_index=IGNORED, reduction="none"
    )
    return losses.reshape(ids.shape[0], -1)


def bits_per_byte(subject: Subject, text: str) -> float:
    """Return the bits per byte of a text: windows that overlap by half, each token scored once."""
    previous = subject.tokenizer.model_max_length
    subject.tokenizer.model_max_length = 10**9
    ids = torch.tensor(subject.encode(text))
    subject.tokenizer.model_max_length = previous
    total, scored = 0.0, 1
    for start in range(0, len(ids), subject.window // 2):
        end = min(start + subject.window, len(ids))
        piece = ids[start:end][None]
        labels = piece.clone()
        labels[:, : scored - start] = IGNORED
        total += float(_token_losses(subject, piece, labels).sum())
        scored = end
        if end == len(ids):
            break
    return total / math.log(2) / len(text.encode("utf-8"))


def _padded(sequences: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, sequences))
    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    labels = torch.full_like(ids, IGNORED)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = labels[row, : len(sequence)] = torch.tensor(sequence)
    return ids, labels


def sentence_losses(subject: Subject, sentences: list[str]) -> list[float]:
    """Return the summed loss of each sentence."""
    encoded = [subject.encode(sentence) for sentence in sentences]
    order = sorted(range(len(encoded)), key=lambda index: len(encoded[index]))
    losses = [0.0] * len(encoded)
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        ids, labels = _padded([encoded[index] for index in batch])
        for index, loss in zip(batch, _token_losses(subject, ids, labels).sum(dim=1).tolist(), strict=True):
            losses[index] = loss
    return losses


def read_blimp(archive: Path, pairs_per_set: int) -> Iterator[tuple[str, list[dict]]]:
    """Yield each set's name and a sample of its pairs that is always the same."""
    with zipfile.ZipFile(archive) as files:
        for name in sorted(name for name in files.namelist() if name.startswith("data/") and name.endswith(".jsonl")):
            rows = [json.loads(line) for line in files.read(name).decode("utf-8").splitlines()]
            title = Path(name).stem
            yield title, random.Random(f"blimp {title}").sample(rows, min(pairs_per_set, len(rows)))


def blimp_accuracy(subject: Subject, archive: Path, pairs_per_set: int) -> dict[str, object]:
    """Return how often the grammatical sentence is the likelier one, in all and by set."""
    by_set = {}
    for title, rows in read_blimp(archive, pairs_per_set):
        good = sentence_losses(subject, [row["sentence_good"] for row in rows])
        bad = sentence_losses(subject, [row["sentence_bad"] for row in rows])
        by_set[title] = sum(left < right for left, right in zip(good, bad, strict=True)) / len(rows)
    return {"accuracy": sum(by_set.values()) / len(by_set), "sets": len(by_set), "by_set": by_set}


def _split_last_word(subject: Subject, text: str) -> tuple[list[int], int]:
    """Return the tokens of the text and how many of them, at the end, are the last word's."""
    context, _, _ = text.rpartition(" ")
    ids, before = subject.encode(text), subject.encode(context)
    shared = 0
    while shared < min(len(ids), len(before)) and ids[shared] == before[shared]:
        shared += 1
    return ids[-subject.window :], len(ids) - shared


def lambada_accuracy(subject: Subject, file: Path, rows: int) -> dict[str, float]:
    """Return how often greedy decoding gives exactly the tokens of the last word."""
    texts = [row["text"] for _, row in zip(range(rows), read_jsonl(file), strict=False)]
    correct = 0
    for text in texts:
        ids, length = _split_last_word(subject, text)
        logits = subject.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        correct += logits[-length - 1 : -1].argmax(dim=-1).tolist() == ids[-length:]
    return {"accuracy": correct / len(texts), "rows": len(texts)}


def greedy_samples(subject: Subject, tokens: int) -> list[dict[str, str]]:
    """Return greedy continuations of the story starts and answers to the chat prompts."""
    samples = []
    for prompt in STORY_STARTS:
        samples.append({"kind": "story", "prompt": prompt, "text": _continue(subject, subject.encode(prompt), tokens)})
    for prompt in CHAT_PROMPTS:
        ids = subject.encode(prompt)
        if subject.tokenizer.chat_template:
            chat = [{"role": "user", "content": prompt}]
            rendered = subject.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            ids = subject.tokenizer(rendered, add_special_tokens=False)["input_ids"]
        samples.append({"kind": "chat", "prompt": prompt, "text": _continue(subject, ids, tokens)})
    return samples


def _continue(subject: Subject, ids: list[int], tokens: int) -> str:
    prompt = torch.tensor([ids])
    output = subject.model.generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=tokens,
        max_length=None,
    )
    return str(subject.tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True))


@torch.inference_mode()
def measure(folder: Path, data: Path, options: argparse.Namespace) -> dict[str, object]:
    """Return all the measurements of a model folder."""
    subject = load_subject(folder, options.window)
    report: dict[str, object] = {
        "model": folder.name,
        "parameters": subject.model.num_parameters(),
        "window": subject.window,
    }
    text = (data / "wikitext2-valid" / "valid.txt").read_text(encoding="utf-8")
    tasks = {
        "wikitext2_bits_per_byte": lambda: bits_per_byte(subject, text),
        "blimp": lambda: blimp_accuracy(subject, data / "blimp" / "BLiMP.zip", options.pairs),
        "lambada": lambda: lambada_accuracy(subject, data / "lambada" / "lambada_test.jsonl", options.lambada_rows),
        "samples": lambda: greedy_samples(subject, options.sample_tokens),
    }
    seconds = {}
    for name, task in tasks.items():
        start = time.perf_counter()
        report[name] = task()
        seconds[name] = round(time.perf_counter() - start, 1)
    return report | {"seconds": seconds}


def main() -> None:
    """Measure one model folder, print the report and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument("--data", type=Path, required=True, help="folder of the evaluation sets")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--pairs", type=int, default=100, help="pairs of each BLiMP set")
    parser.add_argument("--lambada-rows", type=int, default=1000)
    parser.add_argument("--sample-tokens", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    report = json.dumps(measure(options.model, options.data, options), indent=2, ensure_ascii=False)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(report + "\n", encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
