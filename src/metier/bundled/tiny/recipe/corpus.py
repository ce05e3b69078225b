"""Writes the pre-training documents: the whole corpus and a part of the instruction rows as rendered chats.

Every `text` is the inside of a document: the trainer puts the first token before it and the stop token after it. A
rendered chat keeps its role and inner stop tokens as strings, which the tokenizer encodes as special tokens. Of the books
only a share is kept, so that a short run on a CPU reads as much modern prose as old novels.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tokenizers import Tokenizer

from metier.bundled.tiny.recipe import sources
from metier.bundled.tiny.recipe.chat import render_chat
from metier.bundled.tiny.recipe.configuration import BEGIN, SPECIAL_TOKENS, STOP

CHATS = "chats"
HELD_OUT_CHATS = 40
BATCH = 256


def without_specials(text: str) -> str:
    """Return corpus text that cannot be read as special tokens."""
    for token in SPECIAL_TOKENS:
        text = text.replace(token, token.strip("<|>"))
    return text


def chat_documents(instructions: Path, count: int, random: Random) -> tuple[list[dict], list[dict]]:
    """Return `count` rendered chats for training and a few others for validation."""
    rows = list(sources.read_jsonl(instructions))
    chosen = random.sample(rows, min(len(rows), count + HELD_OUT_CHATS))
    documents = []
    for row in chosen:
        text = render_chat(row["messages"]).removeprefix(BEGIN).removesuffix(STOP)
        documents.append({"text": text, "source": CHATS})
    return documents[HELD_OUT_CHATS:], documents[:HELD_OUT_CHATS]


def build(corpus: Path, instructions: Path, chats: int, books: float, seed: int) -> tuple[list[dict], list[dict]]:
    """Return the shuffled training documents and the held-out documents; `books` is the share of books kept."""
    random = Random(f"metier-tiny corpus {seed}")
    training, held_out = chat_documents(instructions, chats, random)
    for source in sources.SOURCES:
        for target, rows in zip((training, held_out), sources.split_rows(corpus, source), strict=True):
            target += [{"text": without_specials(row["text"]), "source": source} for row in rows]
    training = [row for row in training if row["source"] != sources.BOOKS or random.random() < books]
    random.shuffle(training)
    random.shuffle(held_out)
    return training, held_out


def _batches(texts: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), BATCH):
        yield texts[start : start + BATCH]


def token_totals(tokenizer_file: Path, documents: list[dict]) -> dict[str, dict[str, float]]:
    """Return documents, bytes, tokens and bytes per token of each source; begin and end tokens are not counted."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    texts = defaultdict(list)
    for document in documents:
        texts[document["source"]].append(document["text"])
    totals = {}
    for source, group in sorted(texts.items()):
        size = sum(len(text.encode("utf-8")) for text in group)
        tokens = sum(len(code.ids) for batch in _batches(group) for code in tokenizer.encode_batch_fast(batch))
        totals[source] = {
            "documents": len(group),
            "bytes": size,
            "tokens": tokens,
            "bytes_per_token": round(size / tokens, 3),
        }
    totals["all"] = {key: sum(entry[key] for entry in totals.values()) for key in ("documents", "bytes", "tokens")}
    return totals


def main() -> None:
    """Write both files and print the token totals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--instructions", type=Path, required=True)
    parser.add_argument("--chats", type=int, default=25_000)
    parser.add_argument("--books", type=float, default=0.3, help="share of the books that is kept")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json, to count tokens")
    parser.add_argument("--out", type=Path, required=True, help="pretrain.jsonl; the held-out file is put beside it")
    options = parser.parse_args()
    training, held_out = build(options.corpus, options.instructions, options.chats, options.books, options.seed)
    sources.write_jsonl(options.out, training)
    sources.write_jsonl(options.out.with_name(f"{options.out.stem}-validation.jsonl"), held_out)
    report = {
        "training": token_totals(options.tokenizer, training),
        "held_out": token_totals(options.tokenizer, held_out),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
