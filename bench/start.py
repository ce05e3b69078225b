"""CPU seconds from the command to the first finished step, warm caches, 2,000 rows: `python -m bench.start --model S`.

Ours is the command that a user types (`metier train`); a peer's is its contender here, which loads, tokenises all rows
and is then at its first step. The first run of each warms the caches and is not counted.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from time import sleep

import psutil
import yaml

from bench import machine, rows, shapes
from bench.gate import Job
from bench.places import REPOSITORY, cache
from bench.workers import Worker

ROWS = 2_000
_POLL_SECONDS = 0.02


def ours(model: str, work: str, threads: int) -> float:
    """Return CPU seconds of `metier train` until its log has a step (of one row, so it costs nothing)."""
    folder = _project(model, work, threads)
    runs = folder / ".metier" / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    log = cache() / "logs" / "start.log"
    log.parent.mkdir(exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src"), "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "metier", "train", "--project", str(folder)]
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
    watched = psutil.Process(process.pid)
    try:
        while process.poll() is None and not any(path.stat().st_size for path in runs.glob("*/metrics.jsonl")):
            sleep(_POLL_SECONDS)
        if process.poll() is not None:
            raise RuntimeError(f"metier train ended too early:\n{log.read_text(encoding='utf-8')[-2000:]}")
        times = watched.cpu_times()
        return times.user + times.system + times.children_user + times.children_system
    finally:
        process.kill()
        process.wait()


def peer(name: str, model: str, work: str, threads: int) -> float:
    """Return CPU seconds of a contender until it stands before its first step."""
    job = Job(
        contender=name,
        model=model,
        work=work,
        method="lora",
        threads=threads,
        steps=ROWS // rows.ROWS_PER_STEP,
        rows_per_step=rows.ROWS_PER_STEP,
        micro_batch=8,
    )
    with Worker(job) as worker:
        return float(worker.ready()["start_cpu"])


def _project(model: str, work: str, threads: int) -> Path:
    """Return a project with the rows as chat, made when absent."""
    folder = cache() / "start" / f"{model}-{work}"
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "rows.jsonl"
    if not data.is_file():
        steps = rows.steps(work, shapes.SHAPES[model].vocabulary, ROWS // rows.ROWS_PER_STEP)
        lines = [json.dumps({"messages": example.messages}) for examples in steps for example in examples]
        data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = {
        "base": str(shapes.folder(model)),
        "data": data.name,
        "model": {"method": "lora"},
        "train": {"rows_per_step": 1, "threads": threads},
    }
    (folder / "metier.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder


def main() -> None:
    """Print medians and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(shapes.SHAPES), default="S")
    parser.add_argument("--work", choices=sorted(rows.WORKS), default="balanced")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=["trl"])
    options = parser.parse_args()
    shapes.folder(options.model, weights=False)
    about = (options.model, options.work, options.threads)
    seconds: dict[str, list[float]] = {"metier": [], **{name: [] for name in options.peers}}
    for number in range(1 + options.rounds):
        for name, measured in seconds.items():
            value = ours(*about) if name == "metier" else peer(name, *about)
            measured.extend([value] * (number > 0))
    print("| to the first step | CPU seconds, median (least to most) |\n|---|---|")
    for name, measured in seconds.items():
        print(f"| {name} | {statistics.median(measured):.1f} ({min(measured):.1f} to {max(measured):.1f}) |")
    print(json.dumps({"setting": vars(options), "machine": machine.describe(), "seconds": seconds}))


if __name__ == "__main__":
    main()
