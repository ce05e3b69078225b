"""How far the planner's predictions are from what a run then needs: peak memory, and CPU time of a step.

python -m bench.plan_accuracy            every figure in a process of its own, one thread; writes the table
python -m bench.plan_accuracy --predict '{"shape": "S", …}'
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from datetime import date
from pathlib import Path
from time import process_time
from typing import Any

from metier.core.pages import HUGE_PAGES

STEPS = 4
CONFIGURATIONS = [
    {"shape": shape, "work": work, "method": method, "checkpointing": checkpointing, "tokens": tokens, "bits": bits}
    for shape, work, method, checkpointing, tokens, bits in (
        ("S", "balanced", "lora", False, 512, "none"),
        ("S", "balanced", "lora", False, 4096, "none"),
        ("S", "balanced", "lora", True, 4096, "none"),
        ("S", "prompt-heavy", "lora", False, 1024, "none"),
        ("S", "unshared", "lora", False, 1024, "none"),
        ("S", "balanced", "full", False, 512, "none"),
        ("S", "balanced", "full", False, 4096, "none"),
        ("S", "balanced", "full", True, 4096, "none"),
        ("S", "balanced", "layers", False, 4096, "none"),
        ("40M", "balanced", "lora", False, 1024, "none"),
        ("40M", "balanced", "lora", True, 4096, "none"),
        ("40M", "balanced", "full", False, 1024, "none"),
        ("40M", "prompt-heavy", "layers", False, 1024, "none"),
        # not looked at when the planner's two allowances were set
        ("S", "balanced", "lora", False, 2048, "none"),
        ("S", "unshared", "full", False, 1024, "none"),
        ("40M", "unshared", "lora", False, 2048, "none"),
        # other adapters
        ("S", "balanced", "ia3", False, 1024, "none"),
        ("S", "balanced", "bottleneck", False, 1024, "none"),
        # learnt tokens in front of every row, which is computed alone
        ("S", "balanced", "prompt", False, 1024, "none"),
        ("S", "balanced", "prompt", True, 1024, "none"),
        ("S", "unshared", "prefix", False, 1024, "none"),
        ("40M", "balanced", "prompt", False, 512, "none"),
        ("40M", "balanced", "prefix", False, 1024, "none"),
        # a base in fewer bits
        ("S", "balanced", "lora", False, 1024, "int8"),
        ("S", "balanced", "lora", False, 1024, "nf4"),
        ("40M", "balanced", "lora", False, 1024, "int8"),
        ("40M", "unshared", "lora", False, 2048, "nf4"),
        ("S", "balanced", "lora", False, 1024, "bfloat16"),
        ("40M", "unshared", "lora", False, 2048, "bfloat16"),
    )
]


def main() -> None:
    """Predict and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predict", help="a configuration as JSON; prints what is predicted as JSON")
    parser.add_argument("--measure", help="a configuration as JSON; prints what is measured as JSON")
    parser.add_argument("--methods", nargs="+", help="only these methods; all without")
    parser.add_argument(
        "--bits", nargs="+", default=["none", "bfloat16", "int8", "nf4"], help="only bases in these formats"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results") / f"{date.today()}-plan.md")
    arguments = parser.parse_args()
    for wanted, do in ((arguments.predict, predict), (arguments.measure, measure)):
        if wanted:
            print(json.dumps(do(json.loads(wanted))))
            return
    results = []
    methods = arguments.methods or [each["method"] for each in CONFIGURATIONS]
    for configuration in [e for e in CONFIGURATIONS if e["bits"] in arguments.bits and e["method"] in methods]:
        results.append(_apart(configuration))
        arguments.out.write_text(page(results), encoding="utf-8")
    print(arguments.out)


def _apart(configuration: dict[str, Any]) -> dict[str, Any]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", HUGE_PAGES: "1"}
    figures: dict[str, Any] = {}
    for name in ("predict", "measure"):
        command = [sys.executable, "-m", "bench.plan_accuracy", f"--{name}", json.dumps(configuration)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{configuration}: {done.stderr[-3000:]}")
        figures[name] = json.loads(done.stdout.splitlines()[-1])
    print(configuration, figures, flush=True)
    return configuration | figures


def _work(chosen: dict[str, Any]) -> tuple[Any, list[Any]]:
    """Return the base and the steps, arranged."""
    import numpy as np
    import torch

    from bench import rows, shapes
    from metier.core.types import Sequence
    from metier.forest.way import ALONE, Way
    from metier.model.find import find
    from metier.model.settings import ModelSettings
    from metier.model.ways.virtual import stands_in_front

    torch.set_num_threads(1)
    steps = [
        [
            Sequence(ids=np.array(e.ids, np.int32), weights=np.array(e.weights, np.float32), row_id=str(n))
            for n, e in enumerate(examples)
        ]
        for examples in rows.steps(chosen["work"], shapes.SHAPES[chosen["shape"]].vocabulary, STEPS)
    ]
    base = find(str(shapes.folder(chosen["shape"])), Path())
    way = ALONE if stands_in_front(chosen["method"], ModelSettings()) else Way()
    return base, [way.arrange(sequences, chosen["tokens"]) for sequences in steps]


def predict(chosen: dict[str, Any]) -> dict[str, Any]:
    """Predict bytes and the CPU seconds of a step but the first; `planning`: the CPU seconds that this took."""
    from metier.core.memory import resident
    from metier.model.settings import ModelSettings
    from metier.train.planning import pace
    from metier.train.planning.predict import Configuration, Setting, simulate

    base, work = _work(chosen)
    settings = ModelSettings(method=chosen["method"], quantise=chosen["bits"])
    setting = Setting(base=base, model=settings, process=resident())
    configuration = Configuration(
        method=chosen["method"], checkpointing=chosen["checkpointing"], micro_batch_tokens=chosen["tokens"],
        quantise=chosen["bits"],
    )  # fmt: skip
    started = process_time()
    heaviest = max(work, key=lambda each: max(forest.tokens for _, forest in each.forests))
    memory = simulate(setting, configuration, heaviest).memory
    found = pace.measure(setting, configuration, heaviest)
    assert found is not None
    return {
        "memory": memory.total,
        "seconds": sum(found.seconds(each) for each in work[1:]) / (STEPS - 1),
        "planning": process_time() - started,
        "parts": {name: getattr(memory, name) for name in memory.__slots__},
    }


def measure(chosen: dict[str, Any]) -> dict[str, float]:
    """Train the steps; return the peak of resident memory in bytes and the CPU seconds of a step but the first."""
    import torch

    from metier.forest.way import ALONE, probe
    from metier.model.adapt import adapt
    from metier.model.load import load_base
    from metier.model.lora import packed_frozen
    from metier.model.quantise.freeze import quantise
    from metier.model.settings import ModelSettings
    from metier.model.ways.virtual import stands_in_front
    from metier.train.loop import Arithmetic, step
    from metier.train.objectives.supervised import Supervised
    from metier.train.optimisers.build import build
    from metier.train.settings import OptimiserSettings, RegulariseSettings

    base, work = _work(chosen)
    model = load_base(base, device=torch.device("cpu"))
    settings = ModelSettings(method=chosen["method"], quantise=chosen["bits"])
    way = ALONE if stands_in_front(chosen["method"], settings) else probe(model)
    adapted = quantise(adapt(model, base, chosen["method"], settings, seed=0), chosen["bits"], torch.device("cpu"))
    if chosen["checkpointing"]:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    adapted.train()
    optimiser, objective = build(adapted, OptimiserSettings(), RegulariseSettings()), Supervised(way)
    times = []
    with way.attention(adapted), packed_frozen(adapted, torch.float32):
        for each in work:
            started = process_time()
            step(adapted, objective, each, optimiser, clip=1.0, arithmetic=Arithmetic(device=torch.device("cpu")))
            times.append(process_time() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"memory": peak, "seconds": sum(times[1:]) / (STEPS - 1)}


def page(results: list[dict[str, Any]]) -> str:
    """Return the table."""
    lines = [
        f"# Planner: predicted against measured, {date.today()}",
        "",
        f"`python -m bench.plan_accuracy`: each figure from a process of its own, one thread, random weights, "
        f"16 rows a step, {STEPS} steps of which the first is not timed. Memory is the peak resident size of the whole "
        "process, loading included; time is CPU time of a step. `off`: (predicted - measured) / measured.",
        "",
        "| shape | rows | method | checkpointing | micro-batch | memory predicted | measured | off "
        "| step predicted | measured | off |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    missed = []
    for each in results:
        predicted, measured = each["predict"], each["measure"]
        off = {name: predicted[name] / measured[name] - 1 for name in ("memory", "seconds")}
        method = each["method"] + ("" if each["bits"] == "none" else f", {each['bits']}")
        name = f"{each['shape']} {each['work']} {method} {each['tokens']}"
        name += " with checkpointing" if each["checkpointing"] else ""
        missed += [f"{name}: {part} {value:+.0%}" for part, value in off.items() if abs(value) > 0.15]
        lines.append(
            f"| {each['shape']} | {each['work']} | {method} | {'yes' if each['checkpointing'] else 'no'} "
            f"| {each['tokens']} | {predicted['memory'] / 2**20:.0f} MiB | {measured['memory'] / 2**20:.0f} MiB "
            f"| {off['memory']:+.0%} | {predicted['seconds']:.2f} s | {measured['seconds']:.2f} s "
            f"| {off['seconds']:+.0%} |"
        )
    lines += ["", "More than 15 % off: " + ("; ".join(missed) if missed else "none") + ".", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
