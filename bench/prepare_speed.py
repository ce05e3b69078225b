"""How fast rows are prepared and rendered, and whether memory stays flat: a generated file of mixed chats.

    python -m bench.prepare_speed --rows 200000
    python -m bench.prepare_speed --rows 2000000 --no-render

Each file is prepared in a process of its own; rows a second are over the whole way (reading, cleaning, personal data,
copies, comparing, splitting, writing) and, apart, over counting tokens. Memory is the largest resident size of any
one process. Processor seconds count the processes that work on pieces, too: they say more on a machine that is not
quiet than the clock does.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SUBJECTS = ("card", "parcel", "invoice", "refund", "password", "kettle", "lamp", "contract", "delivery", "meter")
_VERBS = ("lost", "broke", "forgot", "returned", "ordered", "cancelled", "received", "paid", "changed", "opened")
_PLACES = ("Leeds", "Turin", "Graz", "Porto", "Malmo", "Ghent", "Brno", "Galway", "Bilbao", "Tartu", "Bergen")
_NAMES = ("Ada", "Bela", "Carlo", "Dana", "Emil", "Freya", "Goran", "Hana", "Ivo", "Jana", "Karel", "Lena")
_WORDS = [
    start + middle + end
    for start in ("ba", "ke", "lo", "mi", "nu", "pra", "ste", "tro", "vel", "wan")
    for middle in ("ra", "di", "no", "ge", "li", "mo", "su", "ta")
    for end in ("n", "r", "st", "l", "ck", "m", "d", "ve")
]
_DIRT = ("cafÃ© ", "zero\u200bwidth ", "<b>bold</b> ", "trailing   \r\n", "nbsp\u00a0here ")


def rows(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield chats of one to four exchanges; 2 % near copies, 1 % exact ones, 5 % dirty, 5 % with personal data."""
    draw = random.Random(seed)
    kept: list[dict[str, Any]] = []
    for number in range(count):
        dice = draw.random()
        if kept and dice < 0.01:
            yield draw.choice(kept)
        elif kept and dice < 0.03:
            yield _edited(draw.choice(kept), draw)
        else:
            row = {"messages": _talk(draw, number), "slice": draw.choice(("mail", "chat", "phone"))}
            if len(kept) < 1000:
                kept.append(row)
            yield row


def _talk(draw: random.Random, number: int) -> list[dict[str, str]]:
    turns = [{"role": "system", "content": "You answer the customers of a shop, briefly and kindly."}]
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        turns.append({"role": "user", "content": _said(draw, number)})
        turns.append({"role": "assistant", "content": _said(draw, number)})
    return turns


def _said(draw: random.Random, number: int) -> str:
    parts = [f"The {draw.choice(_SUBJECTS)} that I {draw.choice(_VERBS)} in {draw.choice(_PLACES)}, number {number}:"]
    parts += draw.choices(_WORDS, k=draw.randint(10, 60))
    dice = draw.random()
    if dice < 0.05:
        parts.insert(draw.randrange(len(parts)), draw.choice(_DIRT))
    elif dice < 0.1:
        name = draw.choice(_NAMES)
        parts.append(
            f"Write to {name.lower()}.{number}@example.org or call 0{draw.randint(10**9, 10**10 - 1)}, {name}."
        )
    return " ".join(parts) + "."


def _edited(row: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """Return the row with one word in twenty of each text changed."""
    turns = []
    for turn in row["messages"]:
        words = [draw.choice(_WORDS) if draw.random() < 0.05 else word for word in turn["content"].split(" ")]
        turns.append(turn if turn["role"] == "system" else {**turn, "content": " ".join(words)})
    return {**row, "messages": turns}


def measure(file: Path, *, base: str | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Prepare one file, count its tokens under a base, and say how long it took."""
    from metier.core.progress import Silent
    from metier.model.find import find
    from metier.prepare.scale.counting import count_tokens
    from metier.prepare.scale.run import counting
    from metier.prepare.settings import DataSettings, PrepareSettings
    from metier.prepare.snapshot import prepare
    from metier.text.render import open_renderer
    from metier.text.settings import TextSettings

    data, chosen = DataSettings(train=file.name), PrepareSettings.model_validate(settings)
    started, processor = time.perf_counter(), _processor()
    result = prepare(data, chosen, folder=file.parent, store=file.parent / ".metier", seed=0, progress=Silent())
    told: dict[str, Any] = {
        "rows": result.rows_in, "bytes": file.stat().st_size, "dropped": result.dropped,
        "prepare_seconds": time.perf_counter() - started, "prepare_processor_seconds": _processor() - processor,
        "prepare_peak_mib": _peak(),
    }  # fmt: skip
    if base is not None:
        started, processor = time.perf_counter(), _processor()
        renderer = open_renderer(Path(base) if Path(base).is_dir() else find(base, file.parent).folder, TextSettings())
        found = count_tokens(result.path, result.counts, renderer, workers=counting(chosen), progress=Silent())
        tokens = [census.tokens for census in found.values()]
        told |= {
            "tokens": sum(tokens), "render_seconds": time.perf_counter() - started,
            "render_processor_seconds": _processor() - processor,
        }  # fmt: skip
    seconds = told["prepare_seconds"] + told.get("render_seconds", 0.0)
    told["processor_microseconds_a_row"] = 1e6 * told["prepare_processor_seconds"] / result.rows_in
    return told | {"rows_a_second": result.rows_in / seconds, "peak_mib": _peak()}


def _processor() -> float:
    """Return the processor seconds of this process and of those that it started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak() -> float:
    """Return the largest resident size so far, of this process or of one that it started, in MiB."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024


def main() -> None:
    """Write the file, prepare it in a process of its own, print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--no-render", action="store_true")
    parser.add_argument("--base", default="metier-tiny", help="renders: a name, or a folder with a tokenizer")
    parser.add_argument("--settings", default="{}", help="of prepare, as JSON")
    parser.add_argument("--file", type=Path, help="measure this file, in this process")
    chosen = parser.parse_args()
    if chosen.file is not None:
        told = measure(
            chosen.file, base=None if chosen.no_render else chosen.base, settings=json.loads(chosen.settings)
        )
        print(json.dumps(told, indent=1))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chats.jsonl"
        with file.open("w", encoding="utf-8", newline="\n") as stream:
            for row in rows(chosen.rows, 0):
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        line = [
            sys.executable,
            "-m",
            "bench.prepare_speed",
            "--file",
            str(file),
            "--settings",
            chosen.settings,
            "--base",
            chosen.base,
        ]
        subprocess.run([*line, *(["--no-render"] if chosen.no_render else [])], check=True)


if __name__ == "__main__":
    main()
