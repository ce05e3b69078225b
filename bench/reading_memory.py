"""Peak memory of preparing generated JSON Lines of growing size.

python -m bench.reading_memory 0.5 1 2   # sizes in GB; each is prepared in a process of its own, and deleted
"""

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from metier.core.progress import Silent
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.snapshot import prepare

_WORDS = (
    "refund", "parcel", "broken", "late", "thanks", "order", "number", "address", "changed", "please", "help",
    "invoice", "twice", "charged", "account", "password", "reset", "delivery", "courier", "weekend", "warranty",
)  # fmt: skip
_BLOCK = 2000


def generate(path: Path, size: int) -> int:
    """Write chat rows of about 1.2 kB until the file has `size` bytes; no two are the same. Returns the rows."""
    number, written, rows = 0, 0, sentences()
    with path.open("w", encoding="utf-8", newline="\n") as out:
        while written < size:
            lines = []
            for _ in range(_BLOCK):
                number += 1
                said, answer = next(rows)
                turns = [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]
                lines.append(json.dumps({"messages": turns, "customer": number // 5}))
            text = "\n".join(lines) + "\n"
            written += out.write(text)
    return number


def sentences() -> Iterator[tuple[str, str]]:
    """Yield questions, numbered, and answers without end: sixty of 21 words each."""
    chance = random.Random(0)
    for number in count(1):
        said = " ".join(chance.choices(_WORDS, k=60))
        yield f"{number}: {said}?", " ".join(chance.choices(_WORDS, k=60))


def measure(path: Path, store: Path) -> None:
    """Prepare one file and print rows, seconds and peak memory (this runs in a process of its own)."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    settings = PrepareSettings.model_validate({"columns": {"group": "customer"}})
    result = prepare(
        DataSettings(train=str(path)), settings, folder=path.parent, store=store, seed=0, progress=Silent()
    )
    seconds = time.perf_counter() - started
    peaks = [resource.getrusage(kind).ru_maxrss / 1024 for kind in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    told = {"rows": result.rows_in, "seconds": seconds, "peak_mb": peaks[0], "worker_mb": peaks[1]}
    print(json.dumps(told | {"before_mb": before / 1024}))


def main() -> None:
    """Generate, measure and print a line for each size, and the slope between the last two."""
    if sys.argv[1] == "--one":
        measure(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    print("| GB | rows | seconds | rows/s | peak MB | of a worker |\n|---:|---:|---:|---:|---:|---:|")
    points = []
    for size in map(float, sys.argv[1:]):
        with tempfile.TemporaryDirectory(dir=os.environ.get("METIER_BENCH", ".")) as folder:
            path = Path(folder) / "rows.jsonl"
            rows = generate(path, int(size * 1e9))
            command = [sys.executable, "-m", "bench.reading_memory", "--one", str(path), folder]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            assert found["rows"] == rows
            points.append((rows, found["peak_mb"]))
            rate = found["rows"] / found["seconds"]
            peaks = f"{found['peak_mb']:,.0f} | {found['worker_mb']:,.0f}"
            print(f"| {size:g} | {rows:,} | {found['seconds']:.0f} | {rate:,.0f} | {peaks} |", flush=True)
    if len(points) > 1:
        (fewer, less), (more, most) = points[-2:]
        print(f"\n{(most - less) * 1e6 / (more - fewer):.0f} bytes a row between the last two")


if __name__ == "__main__":
    main()
