"""The 8B Llama shape with random bfloat16 weights on one GPU: tokens a second, MFU on unique tokens, peak memory.

`python -m bench.gpu --work prompt-heavy --rounds 5`. Contenders run one after another (they do not fit together, and a
GPU of one's own is quiet). TRL is timed with every set of flags that runs; its best is what we are compared with.
"""

import argparse
import json
import statistics
import sys
from dataclasses import dataclass
from typing import Any

import torch

from bench import gemm, machine, rows, shapes
from bench.gate import Job
from bench.places import cache
from bench.workers import Worker

MODEL = "8B"
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bfloat16 operations a second as the makers state them, by a part of the device's name."""

PARTS = (
    ("metier", ""),
    ("hand", ""),
    ("trl", ""),
    ("trl", "checkpointing"),
    ("trl", "liger"),
    ("trl", "padding-free"),
    ("trl", "packed"),
)
_WARM_UP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is timed: the model's shape, the work, timed steps, rows a step and rows a model call."""

    model: str
    work: str
    rounds: int
    rows_per_step: int
    micro_batch: int


def measure(contender: str, variant: str, setting: Setting) -> dict[str, Any]:
    """Time one contender; a failure (flags it refuses, no memory) is an entry too."""
    job = Job(
        contender=contender,
        variant=variant,
        model=setting.model,
        work=setting.work,
        method="lora",
        threads=8,
        steps=_WARM_UP + setting.rounds + 1,
        rows_per_step=setting.rows_per_step,
        micro_batch=setting.micro_batch,
        device="cuda",
    )
    entry: dict[str, Any] = {"contender": contender, "variant": variant}
    try:
        with Worker(job) as worker:
            entry["ready"] = worker.ready()
            steps = [worker.step() for _ in range(_WARM_UP + setting.rounds)][_WARM_UP:]
    except RuntimeError as error:
        return entry | {"failed": str(error)[-600:]}
    return entry | {"steps": steps} | _rates(setting, steps)


def _rates(setting: Setting, steps: list[dict[str, Any]]) -> dict[str, Any]:
    shape = shapes.SHAPES[setting.model]
    given = rows.steps(setting.work, shape.vocabulary, _WARM_UP + setting.rounds, setting.rows_per_step)[_WARM_UP:]
    tokens = [sum(len(example.ids) for example in examples) for examples in given]
    labels = [sum(len(example.ids) - example.answer for example in examples) for examples in given]
    unique = [rows.unique_tokens(examples) for examples in given]
    walls = [step["wall"] for step in steps]
    flop = [gemm.useful_flop(shape, "lora", *each) for each in zip(unique, labels, strict=True)]
    return {
        "tokens_per_second": sum(tokens) / sum(walls),
        "unique_tokens_per_second": sum(unique) / sum(walls),
        "flop_per_second": sum(flop) / sum(walls),
        "step_seconds": statistics.median(walls),
        "peak_gpu_bytes": max(step["peak_gpu"] for step in steps),
    }


def as_markdown(line: dict[str, Any]) -> str:
    """Return the table."""
    table = [
        f"### {line['setting']['model']}, {line['setting']['work']}, LoRA r16, bfloat16, {line['device']}",
        "",
        f"bfloat16 GEMM measured {line['gemm'] / 1e12:.0f} TFLOP/s, stated {line['stated'] / 1e12:.0f}.",
        "",
        "| contender | tokens/s | unique tokens/s | MFU (stated) | of measured GEMM | peak GB | metier is faster by |",
        "|---|---|---|---|---|---|---|",
    ]
    ours = next((entry for entry in line["entries"] if entry["contender"] == "metier" and "steps" in entry), None)
    for entry in line["entries"]:
        name = f"{entry['contender']} {entry['variant']}".strip()
        if "failed" in entry:
            table.append(f"| {name} | failed: {entry['failed'].splitlines()[-1][:90]} | | | | | |")
            continue
        faster = entry["step_seconds"] / ours["step_seconds"] if ours is not None else 0.0
        table.append(
            f"| {name} | {entry['tokens_per_second']:,.0f} | {entry['unique_tokens_per_second']:,.0f} "
            f"| {entry['flop_per_second'] / line['stated']:.0%} | {entry['flop_per_second'] / line['gemm']:.0%} "
            f"| {entry['peak_gpu_bytes'] / 1e9:.1f} | {faster:.2f}× |"
        )
    return "\n".join([*table, "", f"`{line['machine']['command']}`, {line['machine']['date']}"])


def main() -> None:
    """Measure, print the table and one line of JSON."""
    options = _options()
    if not torch.cuda.is_available():
        sys.exit("found: no GPU; wanted: one with about 60 GB; do: run this where torch.cuda.is_available()")
    shapes.folder(options.model, weights=False)
    setting = Setting(
        model=options.model,
        work=options.work,
        rounds=options.rounds,
        rows_per_step=options.rows_per_step,
        micro_batch=options.micro_batch,
    )
    device = torch.cuda.get_device_name()
    line = {
        "setting": {name: value for name, value in vars(options).items() if name != "contenders"},
        "device": device,
        "machine": machine.describe(),
        "gemm": _gemm_rate(),
        "stated": next((peak for name, peak in PEAK.items() if name in device), float("nan")),
        "entries": [measure(*part, setting) for part in PARTS if part[0] in options.contenders],
    }
    with (cache() / "gpu.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
    print(as_markdown(line))
    print(json.dumps(line))


def _gemm_rate() -> float:
    """Return the best of ten 8192-cubed bfloat16 products, operations a second."""
    left, right = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    rates = []
    for _ in range(13):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        torch.mm(left, right)
        end.record()
        torch.cuda.synchronize()
        rates.append(2 * 8192**3 / (start.elapsed_time(end) / 1e3))
    del left, right
    torch.cuda.empty_cache()
    return max(rates[3:])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(shapes.SHAPES), default=MODEL)
    parser.add_argument("--work", choices=sorted(rows.WORKS), default="prompt-heavy")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows-per-step", type=int, default=32)
    parser.add_argument("--micro-batch", type=int, default=8, help="rows a model call, where a contender pads")
    parser.add_argument("--contenders", nargs="+", default=["metier", "hand", "trl"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
