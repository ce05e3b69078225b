"""Outcome, not only speed: held-out accuracy after the same wall-clock time, with everyone's defaults.

`python -m bench.outcome --quick` is a smoke test of minutes; without it hours. Every finished training is a line in
outcome.jsonl in the cache and is not done again, so that it can be stopped and started at will.

How many steps fit into a budget is measured first, by two short trainings of each contender (a fixed part and a part a
step), so that its learning-rate schedule ends with the budget. What a training really took stands in the table.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence as Many
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from bench import machine, outcome_table
from bench.environments import python
from bench.outcome_data import DATA, Task, open_task, questions
from bench.places import REPOSITORY, cache
from metier.core.progress import Silent
from metier.engine.sample import complete
from metier.model.load import load_tuned
from metier.text.render import open_renderer
from metier.text.settings import TextSettings

CONTENDERS = ("metier", "trl", "trl-float32", "trainer")
BASES = ("stories260K", "metier-tiny")
_FEWEST_STEPS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training: who, on what, for how long (seconds; 0: a calibration), with which seed."""

    contender: str
    data: str
    base: str
    budget: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What all trainings share: rows taken, threads, the steps of the two calibrations, overrides of our settings."""

    train_rows: int | None
    test_rows: int
    threads: int
    calibration: tuple[int, int]
    overrides: tuple[str, ...]


def run(training: Training, conditions: Conditions, known: list[dict[str, Any]]) -> dict[str, Any]:
    """Train and evaluate, unless it is known; returns the line that is kept."""
    key = {"training": asdict(training), "conditions": json.loads(json.dumps(asdict(conditions)))}
    found = next((line for line in known if {name: line[name] for name in key} == key), None)
    if found is not None:
        return found
    task = open_task(training.data, training.base, train_rows=conditions.train_rows, test_rows=conditions.test_rows)
    fixed, each = _cost(training, conditions, task)
    steps = max(_FEWEST_STEPS, int((training.budget - fixed) / each))
    facts = _train(training, conditions, task, steps)
    line = key | {"planned_steps": steps, "machine": machine.describe(), **facts}
    line["right"] = "".join(map(str, _right(task, Path(facts["model"]), conditions.threads)))
    _append(cache() / "outcome.jsonl", line)
    shutil.rmtree(facts["output"], ignore_errors=True)
    return line


def _cost(training: Training, conditions: Conditions, task: Task) -> tuple[float, float]:
    """Return the seconds a training takes whatever its length, and those of each step."""
    kept = cache() / "outcome-costs.json"
    costs = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    key = f"{training.contender} {training.data} {training.base} {json.dumps(asdict(conditions))}"
    if key not in costs:
        short, long = (_train(training, conditions, task, steps) for steps in conditions.calibration)
        each = max((long["seconds"] - short["seconds"]) / (long["steps"] - short["steps"]), 1e-4)
        costs[key] = (max(0.0, short["seconds"] - each * short["steps"]), each)
        for facts in (short, long):
            shutil.rmtree(facts["output"], ignore_errors=True)
        kept.write_text(json.dumps(costs, indent=1), encoding="utf-8")
    return costs[key]


def _train(training: Training, conditions: Conditions, task: Task, steps: int) -> dict[str, Any]:
    """Train in a process of its own; returns seconds, steps, and where output and model are."""
    ours = training.contender == "metier"
    output = cache() / "outcome" / f"run-{os.getpid()}-{training.contender}-{training.seed}-{steps}"
    shutil.rmtree(output, ignore_errors=True)
    job = {
        "contender": training.contender,
        "base": str(task.base.folder),
        "train": str(task.train),
        "test": str(task.test),
        "rows": str(task.rows),
        "output": str(output),
        "steps": steps,
        "seed": training.seed,
        "threads": conditions.threads,
        "overrides": list(conditions.overrides),
    }
    paths = [str(REPOSITORY), str(REPOSITORY / "src")] if ours else [str(REPOSITORY)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": str(conditions.threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [str(python("metier" if ours else "trl")), "-m", f"bench.outcome_{'ours' if ours else 'peer'}"]
    done = subprocess.run(
        [*command, json.dumps(job)], env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{training.contender} failed:\n{done.stderr[-3000:]}")
    facts = json.loads(done.stdout.splitlines()[-1])
    _say(f"{training} {facts['steps']} steps, {facts['seconds']:.1f} s")
    return {"output": str(output), "model": str(output)} | facts


def _right(task: Task, model_folder: Path, threads: int) -> list[int]:
    """Return 1 or 0 for each held-out row: the model's greedy answer is the label."""
    torch.set_num_threads(threads)
    asked = questions(task)
    tokenizer = open_renderer(task.base.folder, TextSettings()).tokenizer
    longest = max(len(tokenizer.encode(question.reference, special=False)) for question in asked)
    answers = complete(
        load_tuned(task.base, model_folder, device=torch.device("cpu")),
        [question.ids for question in asked],
        stop_ids=tokenizer.stop_ids,
        max_new_tokens=longest + 8,
        pad_id=tokenizer.pad_id,
        progress=Silent(),
    )
    said = [tokenizer.decode(list(answer.ids)).strip() for answer in answers]
    return [int(text == question.reference) for text, question in zip(said, asked, strict=True)]


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run what is not known yet, in an order that gives every contender its turn; print the table."""
    options = _options()
    conditions = Conditions(
        train_rows=300 if options.quick else None,
        test_rows=40 if options.quick else options.test_rows,
        threads=options.threads,
        calibration=(2, 12) if options.quick else (20, 120),
        overrides=tuple(options.overrides),
    )
    kept = cache() / "outcome.jsonl"
    known = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()] if kept.is_file() else []
    lines = [run(training, conditions, known) for training in _trainings(options)]
    print(outcome_table.as_markdown(lines))


def _trainings(options: argparse.Namespace) -> Many[Training]:
    data, bases = (["banking77"], ["stories260K"]) if options.quick else (options.data, options.bases)
    budgets, seeds = ([6.0, 12.0], [0, 1]) if options.quick else (options.budgets, options.seeds)
    return [
        Training(contender=contender, data=name, base=base, budget=budget, seed=seed)
        for name in data
        for base in bases
        for budget in budgets
        for seed in seeds
        for contender in options.contenders
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke test: few rows, seconds of training")
    parser.add_argument("--data", nargs="+", choices=sorted(DATA), default=sorted(DATA))
    parser.add_argument("--bases", nargs="+", choices=BASES, default=list(BASES))
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--budgets", type=float, nargs="+", default=[120.0, 480.0], help="seconds of training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--test-rows", type=int, default=1500)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--overrides", nargs=argparse.REMAINDER, default=[], help="settings of ours, put last")
    return parser.parse_args()


if __name__ == "__main__":
    main()
