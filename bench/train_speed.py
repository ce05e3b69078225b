"""Train speed and memory of all contenders on the same rows, in one interleaved run.

`python -m bench.train_speed --model S --work prompt-heavy --method lora --threads 1 --rounds 5`

Each contender is a process that waits at its gate. In every round each takes one step, in an order that turns from
round to round; so what else the machine does falls on all of them alike, and every ratio is of steps minutes apart.
"""

import argparse
import json
import sys
from collections.abc import Sequence as Many
from contextlib import ExitStack

import torch

from bench import environments, gemm, machine, rows, shapes, speed_table
from bench.gate import Job
from bench.places import cache
from bench.speed_table import Measured, Setting
from bench.workers import CONTENDERS, Worker

MICRO_BATCH = {"tiny": 8, "S": 8, "M": 4, "8B": 4}
"""Rows that a padded contender computes at once, by model."""
_WARM_UP = 1


def micro_batch(contender: str, model: str, asked: dict[str, int]) -> int:
    """Return the rows that a contender computes at once: litgpt one (its default, and its fastest), others as H."""
    default = 1 if contender == "litgpt" else MICRO_BATCH[model]
    return asked.get(contender, default)


def measure(names: Many[str], setting: Setting, asked: dict[str, int], *, apart: bool) -> list[Measured]:
    """Time every contender: `setting.rounds` steps each after one to warm up.

    Args:
        names: of the contenders.
        setting: what they do.
        asked: micro-batches other than the usual, by contender.
        apart: run them one after another instead of in turn: for when they do not fit into memory together.
    """
    torch.set_num_threads(setting.threads)
    groups = [[name] for name in names] if apart else [list(names)]
    return [measured for group in groups for measured in _in_turn(group, setting, asked)]


def _in_turn(names: list[str], setting: Setting, asked: dict[str, int]) -> list[Measured]:
    results = {name: Measured(name=name, ready={}) for name in names}
    with ExitStack() as stack:
        workers = {}
        for name in names:
            job = _job(name, setting, micro_batch(name, setting.model, asked))
            workers[name] = stack.enter_context(Worker(job))
            results[name].ready.update(workers[name].ready())
            _say(f"{name}: ready, {results[name].ready['start_cpu']:.1f} CPU-s")
        _require_same_rows(results)
        for number in range(_WARM_UP + setting.rounds):
            turn = number % len(names)
            wall_rate, cpu_rate = gemm.rate()
            for name in names[turn:] + names[:turn]:
                facts = workers[name].step() | {"gemm_wall": wall_rate, "gemm_cpu": cpu_rate}
                _say(
                    f"round {number}: {name} {facts['wall']:.2f} s, {facts['user']:.2f} CPU-s, loss {facts.get('loss')}"
                )
                (results[name].steps if number >= _WARM_UP else results[name].warm).append(facts)
    return list(results.values())


def _job(name: str, setting: Setting, rows_at_once: int) -> Job:
    return Job(
        contender=name,
        model=setting.model,
        work=setting.work,
        method=setting.method,
        threads=setting.threads,
        steps=_WARM_UP + setting.rounds + 1,
        rows_per_step=rows.ROWS_PER_STEP,
        micro_batch=rows_at_once,
    )


def _require_same_rows(results: dict[str, Measured]) -> None:
    seen = {name: result.ready["rows"] for name, result in results.items()}
    if len(set(seen.values())) > 1:
        raise RuntimeError(f"contenders do not train on the same rows: {seen}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, print a Markdown table and one line of JSON, and append the line to results.jsonl in the cache."""
    options = _options()
    names = options.contenders or [
        name for name, contender in CONTENDERS.items() if environments.built(contender.environment)
    ]
    shapes.folder(options.model)
    shapes.folder(options.model, weights=False)
    setting = Setting(
        model=options.model, work=options.work, method=options.method, threads=options.threads, rounds=options.rounds
    )
    asked = {name: int(count) for name, _, count in (entry.partition("=") for entry in options.micro_batch)}
    before = machine.describe()
    results = measure(names, setting, asked, apart=options.apart)
    line = speed_table.as_line(setting, results, before, asked)
    with (cache() / "results.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
    print(speed_table.as_markdown(line))
    print(json.dumps(line))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(shapes.SHAPES), default="S")
    parser.add_argument("--work", choices=sorted(rows.WORKS), default="prompt-heavy")
    parser.add_argument("--method", choices=("lora", "full"), default="lora")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each contender")
    parser.add_argument("--contenders", nargs="+", choices=sorted(CONTENDERS), help="default: all that are built")
    parser.add_argument("--micro-batch", nargs="+", default=[], metavar="NAME=ROWS", help="other than the usual")
    parser.add_argument("--apart", action="store_true", help="one contender at a time (less memory, worse ratios)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
