"""Near-duplicates: speed and clusters beside datasketch and text-dedup, recall and precision on planted copies.

`python -m bench.near_duplicates --environments FOLDER` builds the peers' own environment below FOLDER when it is not
there (they are no dependencies of ours), and prints the tables of the results page. Seconds are CPU seconds of one
thread, reading the JSON Lines file included; each contender is timed in a process of its own, after its imports. Rows
come from the corpora beside the checkout (`bench.places.shared`).
"""

import argparse
import csv
import gzip
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from bench.machine import describe
from bench.near_differences import differences
from bench.places import cache, shared
from bench.reading_memory import sentences
from metier.prepare.duplicates.near import near
from metier.prepare.duplicates.shelf import Compared, fill
from tests.prepare.duplicates.planted import edited_words, restyled

PEERS = ("datasketch==2.0.0", "text-dedup==0.4.0")
_FEWEST_WORDS = 20
_LEAST = 0.8


class Pair(NamedTuple):
    """A row of the benchmark: what it asks (may be empty) and what it answers."""

    asked: str
    answered: str


def _lines(pattern: str) -> Iterator[dict]:
    for path in sorted(shared().glob(pattern)):
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            yield from map(json.loads, stream)


def rows(count: int) -> list[Pair]:
    """Return rows of every kind there is: questions, support tickets, dialogues and chunks of textbooks."""
    found = [Pair(row["instruction"], row["response"]) for row in _lines("corpus/dolly-short/*.gz")]
    path = shared() / "data/bitext-customer-support/bitext_support_subset.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        found += [Pair(row["instruction"], row["response"]) for row in csv.DictReader(stream)]
    found += [Pair("", row["text"]) for row in _lines("corpus/sgd-dialogues/*.gz")][:4000]
    texts = [row["text"] for row in _lines("corpus/openstax/*.gz")]
    texts += [row["text"] for row in _lines("corpus/standardebooks/*.gz")]
    chunks = [
        Pair("", text[start : start + 1500]) for text in texts for start in range(0, max(len(text) - 1500, 0), 1500)
    ]
    random.Random(1).shuffle(chunks)
    return (found + chunks)[:count]


def crowd(count: int) -> list[Pair]:
    """Return rows made of 21 words: they meet by chance in nearly every place of a signature."""
    return [Pair(*row) for row in islice(sentences(), count)]


def clusters(found: list[Pair]) -> list[int]:
    """Return the first row of each row's cluster, by metier."""
    with tempfile.TemporaryDirectory() as folder:
        return _found((Compared("", *row, 0) for row in found), Path(folder)).tolist()


def _found(rows: Iterable[Compared], folder: Path) -> np.ndarray:
    shelves = fill(rows, folder / "texts")
    return near(shelves.compared(np.arange(len(shelves))), folder, _LEAST)


def with_edits(row: Pair, share: float, chosen: random.Random, pool: list[str]) -> Pair:
    """Edit a share of the words of a row, wherever they fall in question and answer."""
    sizes = [len(part.split()) for part in row]
    edits = Counter(place >= sizes[0] for place in chosen.sample(range(sum(sizes)), max(1, round(share * sum(sizes)))))
    return Pair(*(edited_words(part, edits[bool(side)], chosen, pool) for side, part in enumerate(row)))


def planted(base: list[Pair], each: int) -> tuple[str, dict[str, float]]:
    """Plant copies of each kind; return a table, and the recall of each kind."""
    chosen, first = random.Random(0), clusters(base)
    sizes = Counter(first)
    lone = [
        number for number, row in enumerate(base)
        if sizes[first[number]] == 1 and len(f"{row.asked} {row.answered}".split()) >= _FEWEST_WORDS
    ]  # fmt: skip
    pool = [word for row in chosen.sample(base, 2000) for word in row.answered.split()]
    kinds: dict[str, Callable[[Pair], Pair]] = {
        "exact": lambda row: row,
        "case, space, punctuation": lambda row: Pair(*(restyled(part, chosen) if part else "" for part in row)),
        "5 % of the words edited": lambda row: with_edits(row, 0.05, chosen, pool),
        "15 % of the words edited": lambda row: with_edits(row, 0.15, chosen, pool),
    }
    everything, origin, kind_of = list(base), {}, {}
    for kind, change in kinds.items():
        for number in chosen.sample(lone, each):
            origin[len(everything)], kind_of[len(everything)] = number, kind
            everything.append(change(base[number]))
    found = clusters(everything)
    hits = Counter(kind_of[copy] for copy, number in origin.items() if found[copy] == found[number])
    family = lambda row: origin.get(row, row)  # noqa: E731
    joined = [row for row in range(len(base), len(everything)) if found[row] != row]
    wrong = sum(family(found[row]) != origin[row] for row in joined)
    recall = {kind: hits[kind] / each for kind in kinds}
    table = ["| planted | pairs | recall |", "|---|---|---|"]
    table += [f"| {kind} | {each} | {recall[kind]:.3f} |" for kind in kinds]
    table.append(f"| precision over joined copies | {len(joined)} | {1 - wrong / max(len(joined), 1):.4f} |")
    return "\n".join(table), recall


def timing_file(path: Path, count: int) -> int:
    """Write a JSON Lines file with copies among its rows; return the bytes of text."""
    base, chosen = rows(int(count * 0.9)), random.Random(5)
    pool = [word for row in chosen.sample(base, 2000) for word in row.answered.split()]
    found = list(base)
    while len(found) < count:
        row = chosen.choice(base)
        share = chosen.choice((0.0, 0.0, 0.02, 0.03))
        found.append(with_edits(row, share, chosen, pool) if share else row)
    chosen.shuffle(found)
    texts = [f"{row.asked}\n{row.answered}".strip() for row in found]
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8")
    return sum(len(text.encode()) for text in texts)


def environment(folder: Path) -> Path:
    """Build the peers' environment unless it is there; return its interpreter."""
    python = folder / "bin" / "python"
    if not (folder / "built").is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEERS], check=True)
        (folder / "built").write_text("\n".join(PEERS), encoding="utf-8")
    return python


def ours(path: Path) -> tuple[float, list[int]]:
    """Return CPU seconds and clusters of metier for a JSON Lines file."""
    started = time.process_time()
    with path.open(encoding="utf-8") as stream, tempfile.TemporaryDirectory() as folder:
        texts = (Compared("", "", json.loads(line)["text"], 0) for line in stream)
        found = _found(texts, Path(folder))
    return time.process_time() - started, found.tolist()


def compare(python: Path, count: int, rounds: int) -> str:
    """Run the three contenders on one file, in turn, each time in a process of its own; return a table."""
    path = cache() / f"near-{count}.jsonl"
    size = timing_file(path, count)
    script = Path(__file__).parent / "contenders" / "near_duplicates.py"
    lines = {name: [str(python), str(script), name, str(path)] for name in ("datasketch", "text-dedup")}
    lines["metier"] = [sys.executable, "-m", "bench.near_duplicates", "--file", str(path)]
    seconds, results = {name: list[float]() for name in lines}, dict[str, list[int]]()
    for _ in range(rounds):
        for name, line in lines.items():
            done = subprocess.run(line, check=True, capture_output=True, text=True)
            taken, found = json.loads(done.stdout.splitlines()[-1])
            seconds[name].append(taken)
            assert results.setdefault(name, found) == found, f"{name} found other clusters in another round"
    reference = results["metier"]
    table = [
        f"| | CPU s, median of {rounds} (least, most) | MB/s a core | duplicates found "
        "| rows kept or dropped otherwise than metier |",
        "|---|---|---|---|---|",
    ]
    for name, found in results.items():
        middle, least, most = median(seconds[name]), min(seconds[name]), max(seconds[name])
        dropped = [row != first for row, first in enumerate(found)]
        other = sum(one != (row != first) for row, (one, first) in enumerate(zip(dropped, reference, strict=True)))
        table.append(
            f"| {name} | {middle:.2f} ({least:.2f}–{most:.2f}) | {size / 1e6 / middle:.1f} "
            f"({size / 1e6 / most:.1f}–{size / 1e6 / least:.1f}) | {sum(dropped):,} | {other / count:.2%} |"
        )
    told = [f"{count:,} rows, {size / 1e6:.1f} MB of text\n", *table, "", *_differences(path, results)]
    return "\n".join(told)


def _differences(path: Path, results: Mapping[str, list[int]]) -> Iterator[str]:
    """Yield the lines of a table that says who is right where metier and a peer differ."""
    with path.open(encoding="utf-8") as stream:
        texts = [json.loads(line)["text"] for line in stream]
    yield "| against | dropped only by | rows | four words in five common | Jaccard of five-word runs ≥ 0.5 |"
    yield "|---|---|---|---|---|"
    for name, theirs in results.items():
        if name != "metier":
            for side, rows, by_words, by_runs in differences(texts, theirs, results["metier"]):
                yield f"| {name} | {name if side == 'theirs' else side} | {rows} | {by_words} | {by_runs} |"


def main() -> None:
    """Print the results page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--environments", type=Path, default=cache() / "environments" / "near-duplicates")
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the recall table")
    parser.add_argument("--timed-rows", type=int, default=20_000, help="rows of the speed table")
    parser.add_argument("--planted", type=int, default=1000, help="pairs of each kind")
    parser.add_argument("--crowd", type=int, help="plant the copies among so many rows of 21 words, and no more")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender is timed")
    parser.add_argument("--file", type=Path, help="time metier on this file, in this process, and nothing else")
    chosen = parser.parse_args()
    if chosen.file is not None:
        print(json.dumps(ours(chosen.file)))
        return
    print(json.dumps(describe(), indent=1))
    if chosen.crowd is not None:
        started = time.process_time()
        print(planted(crowd(chosen.crowd), chosen.planted)[0])
        print(f"{time.process_time() - started:.0f} CPU seconds, for the rows alone and with their copies")
        return
    print(planted(rows(chosen.rows), chosen.planted)[0], flush=True)
    print(compare(environment(chosen.environments), chosen.timed_rows, chosen.rounds))
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
