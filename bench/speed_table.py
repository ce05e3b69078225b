"""From timed steps to a table: examples a second, peak memory, ratios with their range over the rounds."""

import statistics
from collections.abc import Sequence as Many
from dataclasses import asdict, dataclass, field
from typing import Any

from bench import environments, gemm, rows, shapes
from bench.workers import CONTENDERS

OURS = "metier"
CLOCKS = {"wall": ("wall",), "user": ("user",), "cpu": ("user", "system")}
"""What a ratio is taken of. Page faults of large fresh arrays are system time, and wall time, but not user time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What was timed: a model, the work, the method, threads, and how many steps of each contender."""

    model: str
    work: str
    method: str
    threads: int
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One contender: what it said when it was ready, its steps while warming up, and its timed steps."""

    name: str
    ready: dict[str, Any]
    warm: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)


def as_line(
    setting: Setting, results: Many[Measured], machine: dict[str, Any], micro_batches: dict[str, int]
) -> dict[str, Any]:
    """Return everything measured and derived as one JSON value."""
    ours = next((result for result in results if result.name == OURS), None)
    needed = _needed(setting)
    return {
        "setting": asdict(setting),
        "machine": machine,
        "micro_batches": micro_batches,
        "tokens": [facts["tokens"] for facts in needed],
        "unique_tokens": [facts["unique"] for facts in needed],
        "labels": [facts["labels"] for facts in needed],
        "contenders": [_summary(result, ours, setting, needed) for result in results],
        "raw": [asdict(result) for result in results],
    }


def as_markdown(line: dict[str, Any]) -> str:
    """Return the table with what it was measured on."""
    setting, machine = line["setting"], line["machine"]
    threads = f"{setting['threads']} thread{'s' * (setting['threads'] != 1)}"
    shared = 1 - sum(line["unique_tokens"]) / sum(line["tokens"])
    head = [
        f"### {setting['model']}, {setting['work']}, {setting['method']}, {threads}",
        "",
        f"{machine['processor']}, {machine['cores_allowed']} cores allowed, load {machine['load'][0]}, "
        f"{machine['date']}, commit {machine['commit']}; {setting['rounds']} steps of {rows.ROWS_PER_STEP} rows each, "
        f"in turn; a step has {statistics.mean(line['tokens']):,.0f} tokens, {shared:.0%} of them repeated, "
        f"{statistics.mean(line['labels']):,.0f} labels.",
        "",
        "| contender | examples/s | examples/user CPU-s | system CPU-s a step | GEMM share: wall | CPU | peak MB "
        "| start CPU-s | metier is faster by: wall | user CPU | all CPU | metier's memory |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    body = [_row(entry) for entry in line["contenders"]]
    versions = "; ".join(f"{entry['name']}: {entry['versions']}" for entry in line["contenders"])
    tail = ["", f"Ratios: median (least–most) over rounds. Versions: {versions}.", "", f"`{machine['command']}`"]
    return "\n".join([*head, *body, *tail])


def _needed(setting: Setting) -> list[dict[str, Any]]:
    """Return what each timed step has to compute at least."""
    shape = shapes.SHAPES[setting.model]
    steps = rows.steps(setting.work, shape.vocabulary, 1 + setting.rounds)[1:]
    facts = []
    for examples in steps:
        unique = rows.unique_tokens(examples)
        labels = sum(len(example.ids) - example.answer for example in examples)
        flop = gemm.useful_flop(shape, setting.method, unique, labels)
        tokens = sum(len(example.ids) for example in examples)
        facts.append({"tokens": tokens, "unique": unique, "labels": labels, "flop": flop})
    return facts


def _summary(result: Measured, ours: Measured | None, setting: Setting, needed: list[dict[str, Any]]) -> dict[str, Any]:
    contender = CONTENDERS[result.name]
    steps = result.steps
    summary: dict[str, Any] = {
        "name": result.name,
        "title": contender.title,
        "versions": environments.versions(contender.environment, *contender.packages),
        "examples_per_second": statistics.median(rows.ROWS_PER_STEP / step["wall"] for step in steps),
        "examples_per_cpu_second": statistics.median(rows.ROWS_PER_STEP / step["user"] for step in steps),
        "system_seconds": statistics.median(step["system"] for step in steps),
        "gemm_share_wall": _share(needed, steps, "wall"),
        "gemm_share_cpu": _share(needed, steps, "cpu"),
        "peak_bytes": max(step["peak"] for step in steps),
        "start_cpu": result.ready["start_cpu"],
        "losses": [step.get("loss") for step in [*result.warm, *steps]],
    }
    if ours is not None and result.name != OURS:
        for name, clocks in CLOCKS.items():
            theirs, own = (
                [sum(step[clock] for clock in clocks) for step in measured] for measured in (steps, ours.steps)
            )
            summary[f"faster_{name}"] = _ratios(theirs, own)
        summary["memory_share"] = max(step["peak"] for step in ours.steps) / summary["peak_bytes"]
    return summary


def _share(needed: Many[dict[str, Any]], steps: Many[dict[str, Any]], clock: str) -> float:
    """Return the useful operations a second as a share of what a matrix product reached in the same round."""
    return statistics.median(
        facts["flop"] / sum(step[name] for name in CLOCKS[clock]) / step[f"gemm_{clock}"]
        for facts, step in zip(needed, steps, strict=True)
    )


def _ratios(theirs: Many[float], ours: Many[float]) -> dict[str, float]:
    each = [other / own for other, own in zip(theirs, ours, strict=True)]
    return {"median": statistics.median(each), "least": min(each), "most": max(each)}


def _row(entry: dict[str, Any]) -> str:
    figures = [
        entry["title"],
        f"{entry['examples_per_second']:.2f}",
        f"{entry['examples_per_cpu_second']:.2f}",
        f"{entry['system_seconds']:.2f}",
        f"{entry['gemm_share_wall']:.0%}",
        f"{entry['gemm_share_cpu']:.0%}",
        f"{entry['peak_bytes'] / 1e6:,.0f}",
        f"{entry['start_cpu']:.1f}",
        *(_range(entry.get(f"faster_{name}")) for name in CLOCKS),
        f"{entry['memory_share']:.2f}×" if "memory_share" in entry else "",
    ]
    return "| " + " | ".join(figures) + " |"


def _range(ratio: dict[str, float] | None) -> str:
    return f"{ratio['median']:.2f}× ({ratio['least']:.2f}–{ratio['most']:.2f})" if ratio else ""
