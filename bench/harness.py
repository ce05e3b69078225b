"""Are our scores those of lm-evaluation-harness, and how long do both take? `python -m bench.harness`.

Runs in the environment `lm-eval` (`python -m bench.environments lm-eval`), which has both: the harness's own tasks on
local files with its Hugging Face backend, and metier's reading of the same files, on the same model.
"""

import argparse
import json
import os
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import environments, machine
from bench.places import REPOSITORY, cache, shared

_INSIDE = "METIER_BENCH_INSIDE"


def main() -> None:
    """Start again inside the environment, then compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=str(shared() / "weights" / "stories260K"))
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--tasks", nargs="*", default=["mmlu", "blimp", "lambada", "truthfulqa", "gsm8k"])
    options = parser.parse_args()
    inside("bench.harness", ["--model", options.model, "--items", str(options.items), "--tasks", *options.tasks])
    print(json.dumps(machine.describe()))
    for task in options.tasks:
        for line in compare(task, Path(options.model), options.items):
            print(json.dumps(line), flush=True)


def inside(module: str, arguments: list[str]) -> None:
    """Start a module again in the environment of the harness and end with it; returns where that is this process."""
    if _INSIDE in os.environ:
        return
    environment = dict(os.environ) | {_INSIDE: "1", "PYTHONPATH": f"{REPOSITORY / 'src'}:{REPOSITORY}"}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [str(environments.build("lm-eval")), "-m", module, *arguments]
    raise SystemExit(subprocess.run(command, check=False, env=environment, cwd=REPOSITORY).returncode)


def compare(task: str, model: Path, most: int) -> list[dict[str, Any]]:
    """Score one benchmark both ways on its first items; returns what each says and how long it took."""
    lines = []
    for name, documents, yaml, suite in TASKS[task]():
        folder = cache() / "harness" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in documents[:most]))
        (folder / f"{name}.yaml").write_text(yaml.format(name=name, data=folder / "data.jsonl"))
        theirs = _theirs(name, folder, model)
        own = ours(suite, model, most)
        lines.append(
            {
                "task": name, "items": len(own["values"]), "theirs": theirs["score"], "ours": own["score"],
                "items that differ": _differ(theirs["values"], own["values"]),
                "their items": "".join(f"{value:.0f}" for value in theirs["values"]),
                "items that differ with our model behind theirs": _differ(
                    theirs["values"], _behind(name, folder, model)["values"]
                ),
                "their CPU-s": round(theirs["cpu"], 2), "our CPU-s": round(own["cpu"], 2),
                "ratio": round(own["cpu"] / theirs["cpu"], 2),
                "wall": [round(theirs["wall"], 2), round(own["wall"], 2)],
            }
        )  # fmt: skip
    return lines


def _differ(one: list[float], other: list[float]) -> int:
    return sum(abs(a - b) > 1e-6 for a, b in zip(one, other, strict=True))


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Do something; returns what it found, CPU seconds and seconds."""
    wall, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    found = work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return found, cpu, time.perf_counter() - wall


def _theirs(name: str, folder: Path, model: Path) -> dict[str, Any]:
    from lm_eval.models.huggingface import HFLM

    return _asked(name, folder, HFLM(pretrained=str(model), device="cpu", dtype="float32", batch_size=16))


def _behind(name: str, folder: Path, model: Path) -> dict[str, Any]:
    """Let the harness ask our model through the adapter that `evaluate.suites.harness` uses."""
    from metier.core.progress import Silent
    from metier.evaluate.suites.harness import behind
    from metier.model.find import find
    from metier.model.load import load_base
    from metier.text.render import open_renderer
    from metier.text.settings import TextSettings

    base = find(str(model), Path())
    return _asked(name, folder, behind(load_base(base), open_renderer(base.folder, TextSettings()), Silent()))


def _asked(name: str, folder: Path, backend: Any) -> dict[str, Any]:
    import lm_eval
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    out, cpu, wall = timed(
        lambda: lm_eval.simple_evaluate(
            model=backend, tasks=[name], task_manager=manager, bootstrap_iters=0, log_samples=True
        )
    )
    samples = sorted(out["samples"][name], key=lambda sample: sample["doc_id"])
    metric = "exact_match" if "exact_match" in samples[0] else "acc"
    values = [float(sample[metric]) for sample in samples if sample.get("filter") in ("none", "strict-match", None)]
    return {"score": sum(values) / len(values), "values": values, "cpu": cpu, "wall": wall}


def ours(suite: Any, model: Path, most: int) -> dict[str, Any]:
    """Ask a model the first items of a suite as an evaluation does; returns score, values, CPU seconds and seconds."""
    import dataclasses

    from metier.core.progress import Silent
    from metier.evaluate.answer import answer
    from metier.evaluate.suites import ask, run
    from metier.model.find import find
    from metier.model.load import load_base
    from metier.text.render import open_renderer
    from metier.text.settings import TextSettings

    base = find(str(model), Path())
    loaded = load_base(base)
    renderer = open_renderer(base.folder, TextSettings())

    def work() -> list[float]:
        question = ask.asked(dataclasses.replace(suite, items=suite.items[:most]), renderer)
        everything = run.everything(question, renderer)
        return run.measured(question, answer(loaded, everything, name="", progress=Silent()), renderer).tolist()

    values, cpu, wall = timed(work)
    return {"score": sum(values) / len(values), "values": values, "cpu": cpu, "wall": wall}


Task = tuple[str, list[dict[str, Any]], str, Any]

_HEAD = "task: {name}\ndataset_path: json\ndataset_kwargs:\n  data_files: {{test: {data}}}\ntest_split: test\n"
_CHOICE = (
    _HEAD + "output_type: multiple_choice\nmetric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]\n"
)


def _choices(folder: str, name: str, shots: int = 0) -> list[Task]:
    """Write a benchmark of choices as the harness reads one: the text before, the options, the right one."""
    from metier.evaluate.suites import benchmarks

    found = []
    for suite in benchmarks.READERS[name](shared() / "data" / folder, shots):
        if any(item.mass for item in suite.items):
            continue
        documents = [
            {"text": item.text, "choices": [option.strip() for option in item.options],
             "right": item.right[0]}
            for item in suite.items
        ]  # fmt: skip
        yaml = _CHOICE + 'doc_to_text: "{{{{text}}}}"\ndoc_to_choice: "{{{{choices}}}}"\ndoc_to_target: right\n'
        found.append((f"local_{suite.name.replace('-', '_')}", documents, yaml, suite))
    return found


def _lambada() -> list[Task]:
    from metier.evaluate.suites import benchmarks

    (suite,) = benchmarks.lambada(shared() / "data" / "lambada", 0)
    lines = (shared() / "data" / "lambada" / "lambada_test.jsonl").read_text(encoding="utf-8").splitlines()
    yaml = (
        _HEAD
        + "output_type: loglikelihood\n"
        + "doc_to_text: \"{{{{text.split(' ')[:-1]|join(' ')}}}}\"\n"
        + "doc_to_target: \"{{{{' '+text.split(' ')[-1]}}}}\"\n"
        + "metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]\n"
    )
    return [("local_lambada", [json.loads(line) for line in lines], yaml, suite)]


def _gsm8k() -> list[Task]:
    from metier.evaluate.suites import benchmarks

    (suite,) = benchmarks.gsm8k(shared() / "data" / "gsm8k", 0)
    lines = (shared() / "data" / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    yaml = (
        _HEAD
        + "output_type: generate_until\n"
        + 'doc_to_text: "Question: {{{{question}}}}\\nAnswer:"\ndoc_to_target: "{{{{answer}}}}"\n'
        + 'generation_kwargs: {{until: ["Question:", "</s>", "<|im_end|>"], do_sample: false, temperature: 0.0}}\n'
        + "metric_list:\n  - metric: exact_match\n    aggregation: mean\n    higher_is_better: true\n"
        + '    ignore_case: true\n    regexes_to_ignore: [",", "\\\\$", "(?s).*#### ", "\\\\.$"]\n'
        + "filter_list:\n  - name: strict-match\n    filter:\n      - function: regex\n"
        + '        regex_pattern: "#### (\\\\-?[0-9\\\\.\\\\,]+)"\n      - function: take_first\n'
    )
    return [("local_gsm8k", [json.loads(line) for line in lines], yaml, suite)]


TASKS: dict[str, Callable[[], list[Task]]] = {
    "mmlu": lambda: _choices("mmlu", "mmlu", 5),
    "blimp": lambda: _choices("blimp/BLiMP.zip", "blimp"),
    "truthfulqa": lambda: _choices("truthfulqa", "truthfulqa"),
    "lambada": _lambada,
    "gsm8k": _gsm8k,
}

if __name__ == "__main__":
    main()
