"""Personal data: recall and precision by kind and speed, metier against presidio-analyzer's pattern recognisers.

    python -m bench.pii [--rounds 3] [--peer-kilobytes 300]

Builds the peer's environment when it is not there. Recall and precision on the 1,500 sentences of `pii-presidio`: a
value is found when a span of its kind overlaps it, found whole when spans of any kind cover all of it but one
character; a span is right when it overlaps a value of its kind. Our rules were tuned on sentences of templates with an
even number, so those with an odd number are shown apart. Speed: CPU seconds of one process, in turns, on support chat
(`bitext-customer-support`), the mixed chats of `prepare_speed`, instructions (`dolly-short`), dialogues
(`sgd-dialogues`) and the sentences themselves; ours with names and addresses, with everything that it knows, and with
no more than what the peer looks for.
"""

import argparse
import csv
import gzip
import itertools
import json
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import prepare_speed
from bench.environments import build, versions
from bench.machine import describe
from bench.places import REPOSITORY, shared

KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    # upstream's kind -> our kind, presidio's kinds
    "CREDIT_CARD": ("card", ("CREDIT_CARD",)),
    "IBAN_CODE": ("iban", ("IBAN_CODE",)),
    "EMAIL_ADDRESS": ("email", ("EMAIL_ADDRESS",)),
    "PHONE_NUMBER": ("phone", ("PHONE_NUMBER",)),
    "IP_ADDRESS": ("ip", ("IP_ADDRESS",)),
    "US_SSN": ("national_id", ("US_SSN",)),
    "US_DRIVER_LICENSE": ("national_id", ("US_DRIVER_LICENSE",)),
    "DOMAIN_NAME": ("url", ("URL",)),
    "DATE_TIME": ("date", ("DATE_TIME",)),
    "STREET_ADDRESS": ("address", ("LOCATION",)),
    "ZIP_CODE": ("address", ("LOCATION",)),
    "PERSON": ("person", ("PERSON",)),
}
_LINE = "| {} | {} | {} | {} | {} | {} | {} |"


class Contender:
    """A process that answers batches of texts with spans and CPU seconds."""

    def __init__(self, interpreter: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [str(interpreter), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        )
        self.hello = self._read()

    def find(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return `spans` (start, end, kind) of each text and the `seconds` it took."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(list(texts)) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended")
        return json.loads(line)


def sentences() -> list[dict[str, Any]]:
    """Return the sentences with their exact places."""
    return json.loads((shared() / "data/pii-presidio/data/synth_dataset_v2.json").read_text(encoding="utf-8"))


def corpora() -> Iterator[tuple[str, list[str]]]:
    """Yield texts to be fast on, by name."""
    with (shared() / "data/bitext-customer-support/bitext_support_subset.csv").open(encoding="utf-8") as stream:
        yield "support chat", [text for row in csv.DictReader(stream) for text in (row["instruction"], row["response"])]
    yield (
        "mixed chats",
        [message["content"] for row in prepare_speed.rows(4000, 0) for message in row["messages"]],
    )
    yield (
        "instructions",
        [text for row in _packed("dolly-short/dolly-short-00") for text in (row["instruction"], row["response"])],
    )
    yield "dialogues", [row["text"] for row in _packed("sgd-dialogues/dialogues-00")]
    yield "the sentences", [row["full_text"] for row in sentences()]


def _packed(name: str) -> list[dict[str, str]]:
    with gzip.open(shared() / f"corpus/{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in itertools.islice(lines, 4000)]


def score(rows: Sequence[Mapping[str, Any]], found: Sequence[Any], ours: bool) -> dict[str, tuple[int, int, int]]:
    """Return for each of upstream's kinds: values, values found as that kind, values covered whole."""
    values: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for row, spans in zip(rows, found, strict=True):
        for value in row["spans"]:
            kind, start, end = value["entity_type"], value["start_position"], value["end_position"]
            if kind in KINDS:
                names = (KINDS[kind][0],) if ours else KINDS[kind][1]
                values[kind] += 1
                hits[kind] += any(name in names and first < end and start < last for first, last, name in spans)
                covered = {place for first, last, _ in spans for place in range(max(first, start), min(last, end))}
                whole[kind] += len(covered) >= end - start - 1
    return {kind: (values[kind], hits[kind], whole[kind]) for kind in KINDS}


def precision(rows: Sequence[Mapping[str, Any]], found: Sequence[Any], ours: bool) -> dict[str, tuple[int, int]]:
    """Return for each kind of the contender: spans, and spans that overlap a value of that kind."""
    spans_of: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for row, spans in zip(rows, found, strict=True):
        for first, last, name in spans:
            spans_of[name] += 1
            right[name] += any(
                value["entity_type"] in KINDS
                and name in ((KINDS[value["entity_type"]][0],) if ours else KINDS[value["entity_type"]][1])
                and first < value["end_position"]
                and value["start_position"] < last
                for value in row["spans"]
            )
    return {name: (spans_of[name], right[name]) for name in spans_of}


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2f}" if whole else "–"


def quality(ours: Contender, peer: Contender) -> Iterator[str]:
    """Yield the tables of recall and precision."""
    rows = sentences()
    texts = [row["full_text"] for row in rows]
    mine, theirs = ours.find(texts)["spans"], peer.find(texts)["spans"]
    odd = [place for place, row in enumerate(rows) if row["template_id"] % 2]
    new_rows = [rows[place] for place in odd]
    unseen = score(new_rows, [mine[place] for place in odd], ours=True)
    unseen_peer = score(new_rows, [theirs[place] for place in odd], ours=False)
    all_ours, all_theirs = score(rows, mine, ours=True), score(rows, theirs, ours=False)
    yield "| kind | values | metier | covered whole | presidio | unseen templates: metier | presidio |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for kind, (values, hits, whole) in all_ours.items():
        new = unseen[kind]
        yield _LINE.format(
            kind, values, _share(hits, values), _share(whole, values), _share(all_theirs[kind][1], values),
            f"{_share(new[1], new[0])} of {new[0]}", _share(unseen_peer[kind][1], new[0]),
        )  # fmt: skip
    yield ""
    yield "| contender | kind | spans | precision |"
    yield "|---|---|--:|--:|"
    for name, spans, is_ours in (("metier", mine, True), ("presidio", theirs, False)):
        for kind, (count, right) in sorted(precision(rows, spans, is_ours).items()):
            yield f"| {name} | {kind} | {count} | {_share(right, count)} |"


def speed(contenders: Mapping[str, Contender], rounds: int, peer_bytes: int) -> Iterator[str]:
    """Yield the table of megabytes a CPU second; contenders take turns, the slow one on the first part of a corpus."""
    yield "| texts | MB | bytes a text | " + " | ".join(contenders) + " |"
    yield "|---|--:|--:|" + "--:|" * len(contenders)
    for corpus, texts in corpora():
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, contender in contenders.items():
                part = _first(texts, peer_bytes if name == "presidio" else 4_000_000)
                size = sum(len(text.encode()) for text in part)
                rates[name].append(size / 1e6 / contender.find(part)["seconds"])
        size = sum(len(text.encode()) for text in texts)
        shown = " | ".join(
            f"{statistics.median(rate):.2f} ({min(rate):.2f}–{max(rate):.2f})" for rate in rates.values()
        )
        yield f"| {corpus} | {size / 1e6:.1f} | {size // len(texts)} | {shown} |"


def _first(texts: Sequence[str], most: int) -> list[str]:
    sizes = itertools.accumulate(len(text.encode()) for text in texts)
    return [text for text, size in zip(texts, sizes, strict=True) if size <= most] or list(texts[:1])


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-kilobytes", type=int, default=200)
    arguments = parser.parse_args()
    here = Path(sys.executable)
    every = Contender(here, "-m", "bench.contenders.protect", "all")
    default = Contender(here, "-m", "bench.contenders.protect", "default")
    patterns = Contender(here, "-m", "bench.contenders.protect", "patterns")
    peer = Contender(build("presidio"), "bench/contenders/presidio.py")
    print(json.dumps(describe() | {"peer": versions("presidio", "presidio-analyzer", "spacy")}))
    print(json.dumps(peer.hello), end="\n\n")
    print("\n".join(quality(every, peer)), end="\n\n")
    contenders = {
        "metier": default,
        "metier, urls and dates too": every,
        "metier, the peer's kinds": patterns,
        "presidio": peer,
    }
    print("\n".join(speed(contenders, arguments.rounds, arguments.peer_kilobytes * 1000)))


if __name__ == "__main__":
    main()
