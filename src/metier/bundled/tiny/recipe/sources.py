"""Reads the openly licensed corpus: one gzip JSON Lines file or more in a folder for each source."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

BOOKS = "standardebooks"
TEXTBOOKS = "openstax"
DIALOGUES = "sgd-dialogues"
SHORT_INSTRUCTIONS = "dolly-short"
HELD_OUT = {BOOKS: 70, TEXTBOOKS: 50, DIALOGUES: 30, SHORT_INSTRUCTIONS: 10}
SOURCES = (BOOKS, TEXTBOOKS, DIALOGUES, SHORT_INSTRUCTIONS)


def read_rows(corpus: Path, source: str) -> Iterator[dict[str, str]]:
    """Yield the rows of one source in shard order."""
    shards = sorted((corpus / source).glob("*.jsonl.gz"))
    if not shards:
        raise FileNotFoundError(f"no shard of {source} in {corpus}")
    for shard in shards:
        with gzip.open(shard, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


def split_rows(corpus: Path, source: str) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return one source's rows for training and its rows held out for validation, always the same ones."""
    rows = list(read_rows(corpus, source))
    chosen = set(Random(f"held out of {source}").sample(range(len(rows)), HELD_OUT[source]))
    training = [row for index, row in enumerate(rows) if index not in chosen]
    return training, [rows[index] for index in sorted(chosen)]


def read_texts(corpus: Path, source: str) -> list[str]:
    """Return the training documents of one source in shard order."""
    return [row["text"] for row in split_rows(corpus, source)[0]]


def read_jsonl(path: Path) -> Iterator[dict]:
    """Yield the rows of a plain JSON Lines file."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)


def write_jsonl(path: Path, rows: list[dict]) -> None:
    """Write rows as JSON Lines, one object a line, non-ASCII letters kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
