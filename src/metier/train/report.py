"""The course of a training as a Report: curves from metrics.jsonl, figures from summary.json; imports no torch."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from metier.core import artefact
from metier.core.errors import DataError
from metier.core.report import Cell, Figure, Report, Series, Table, Verdict
from metier.report.cells import duration, size
from metier.score.metrics import metric_of
from metier.train import log
from metier.train.reinforcing import report as rewards

_MOST_POINTS = 300
"""Longer curves are drawn as means over equal shares of the steps, with the lowest and highest as a band."""

_UNITS = {
    "chat": ("nats", "Nats per token that is learnt"),
    "classify": ("nats", "Nats per row: the surprise at the right label"),
    "multilabel": ("nats", "Nats per label: the surprise at the right yes or no"),
    "regress": ("variances", "Squared error, as a share of the variance of the training rows"),
    "distil": ("nats", "Nats per token between the base with its long prompt and the model without"),
    "reinforce": ("nats", "Nats by how much better than their group answers are: near 0 whatever is learnt"),
}
"""Objective -> the unit of its loss, and what that is."""

_RISE = 1.05
"""A last validation loss above the best by this factor is worth a remark."""


def report(run: Path) -> Report:
    """Tell how a run went.

    Raises:
        DataError: the run has not been trained to its end.
    """
    if not (run / "summary.json").is_file():
        raise DataError(f"{run}: no summary.json", "a run trained to its end", "metier train")
    summary = artefact.read_json(run / "summary.json")
    entries = _entries(run / "metrics.jsonl")
    steps = [entry for entry in entries if "loss" in entry]
    judged = [entry for entry in entries if rewards.KEY in entry]
    checks = [entry for entry in entries if "validation_loss" in entry]
    rewarded = any("reward" in step for step in steps)
    return Report(
        title=f"Training of {run.name}",
        verdict=rewards.verdict(summary, steps, judged) if rewarded else _verdict(summary, steps, checks),
        facts=_facts(summary),
        tables=_choices(run / "choices.json"),
        figures=(
            *rewards.figures(steps, judged),
            *_figures(steps, checks, summary["best_step"], _objective(run / "choices.json")),
            *_answers([*checks, *judged]),
        ),
        command="metier train",
    )


def _entries(path: Path) -> list[dict[str, Any]]:
    """Read the step log; the last of the lines that name the same step and kind counts."""
    found: dict[tuple[int, bool], dict[str, Any]] = {}
    for entry in log.read(path) if path.is_file() else ():
        found[(entry["step"], bool(entry.keys() & {"validation_loss", rewards.KEY}))] = entry
    return sorted(found.values(), key=lambda entry: entry["step"])


def _verdict(summary: dict[str, Any], steps: Sequence[dict[str, Any]], checks: Sequence[dict[str, Any]]) -> Verdict:
    if not steps:
        return Verdict(text="No step was logged.", good=None)
    if summary["best_validation_loss"] is None:
        first, last = steps[0]["loss"], steps[-1]["loss"]
        text = f"The loss went from {first:.3f} to {last:.3f}; without validation rows nothing more can be said."
        return Verdict(text=text, good=None)
    best, first = summary["best_validation_loss"], checks[0]["validation_loss"]
    text = (
        f"The validation loss went from {first:.3f} at the first check to {best:.3f} at step {summary['best_step']:,}"
    )
    by = summary.get("best_by", "loss")
    why = "" if by == "loss" else f", the best by {metric_of(by).title} ({summary['best_value']:.3f})"
    text += f"{why}, and the weights of that step were kept"
    if summary["stopped_early"]:
        text += f"; stopped early after {summary['steps']:,} of {summary['planned_steps']:,} steps"
    if summary.get("overfitting"):
        text += f"; {summary['overfitting']}"
    elif checks[-1]["validation_loss"] > best * _RISE and not summary["stopped_early"]:
        text += "; it rose again afterwards, so a shorter training would do"
    good = best < first or len(checks) == 1 or by != "loss"
    return Verdict(text=f"{text}.", good=good)


def _facts(summary: dict[str, Any]) -> tuple[tuple[str, Cell], ...]:
    seconds = summary["seconds"]
    return (
        ("rows", summary["rows"]),
        ("steps", summary["steps"]),
        ("epochs", round(summary["epochs"], 2)),
        ("tokens", summary["tokens"]),
        ("tokens per second", round(summary["tokens"] / seconds) if seconds else None),
        ("seconds of training", round(seconds, 1)),
        ("steps refused by the guard", summary.get("refused_steps", 0)),
        ("peak memory (GiB)", round(summary["peak_memory_bytes"] / 2**30, 2)),
        *([("scale", f"{summary['scaled']['scale']:g} of {summary['scaled']['run']}")] if "scaled" in summary else []),
        ("computed on", f"{summary['device']}, threads: {summary['threads']}"),
        ("torch", summary["torch"]),
        *_spared(summary),
    )


def _spared(summary: dict[str, Any]) -> tuple[tuple[str, Cell], ...]:
    """Tell what a distillation saves."""
    if "tokens_saved" not in summary:
        return ()
    return (
        ("prompt tokens saved a request", round(summary["tokens_saved_per_request"], 1)),
        ("prompt tokens saved on these rows", summary["tokens_saved"]),
    )


def _figures(
    steps: Sequence[dict[str, Any]], checks: Sequence[dict[str, Any]], best_step: int | None, objective: str
) -> tuple[Figure, ...]:
    if not steps:
        return ()
    curves = [_curve("training", steps, "loss")]
    if checks:
        curves.append(_curve("validation", checks, "validation_loss"))
    unit, meaning = _UNITS.get(objective, _UNITS["chat"])
    note = f"{meaning}{'' if objective == 'reinforce' else '; lower is better'}."
    if best_step is not None:
        note += f" The weights of step {best_step:,} were kept."
    losses = Figure(title="Loss", kind="lines", series=tuple(curves), x_label="step", y_label=unit, note=note)
    rate = Figure(
        title="Learning rate",
        kind="lines",
        series=(_curve("learning rate", steps, "learning_rate"),),
        x_label="step",
    )
    norm = Figure(
        title="Gradient norm",
        kind="lines",
        series=(_curve("gradient norm", steps, "gradient_norm"),),
        x_label="step",
        note="Before clipping. Single peaks are harmless; a steady rise means the learning rate is too high.",
    )
    return losses, norm, rate


def _answers(checks: Sequence[dict[str, Any]]) -> tuple[Figure, ...]:
    """Draw what rows that were answered at checks were measured by: shares together, everything else alone."""
    answered = [check for check in checks if check.get("answers")]
    names = dict.fromkeys(name for check in answered for name in check["answers"])
    title = f"Answers to {answered[0]['answered']:,} validation rows" if answered else ""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault("share" if metric_of(name).unit == "share" else name, []).append(name)
    return tuple(
        Figure(
            title=title if unit == "share" else metric_of(unit).title,
            kind="lines",
            series=tuple(
                Series(
                    name=metric_of(name).title,
                    x=[float(check["step"]) for check in answered if name in check["answers"]],
                    y=[float(check["answers"][name]) for check in answered if name in check["answers"]],
                )
                for name in members
            ),
            x_label="step",
            note="; ".join(f"{metric_of(name).title}: {metric_of(name).meaning}" for name in members) + ".",
        )
        for unit, members in groups.items()
    )


def _curve(name: str, entries: Sequence[dict[str, Any]], key: str) -> Series:
    x = [float(entry["step"]) for entry in entries]
    y = [float(entry[key]) for entry in entries]
    if len(y) <= _MOST_POINTS:
        return Series(name=name, x=x, y=y)
    return Series(name=name, x=_thin(x, _mean), y=_thin(y, _mean), low=_thin(y, min), high=_thin(y, max))


def _thin(values: Sequence[float], combine: Callable[[Sequence[float]], float]) -> list[float]:
    """Cut values into at most 300 equal shares and combine each into one number."""
    count = len(values)
    shares = [values[p * count // _MOST_POINTS : (p + 1) * count // _MOST_POINTS] for p in range(_MOST_POINTS)]
    return [combine(share) for share in shares]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _objective(path: Path) -> str:
    """Return what was learnt, as it was chosen."""
    choices = artefact.read_json(path) if path.is_file() else []
    return next((choice["value"] for choice in choices if choice["name"] == "train.objective"), "chat")


def _choices(path: Path) -> tuple[Table, ...]:
    """List what the program chose by itself, with reasons."""
    if not path.is_file():
        return ()
    choices = artefact.read_json(path)
    rows = tuple((choice["name"], _plain(choice["value"]), choice["reason"]) for choice in choices)
    return (Table(title="Chosen by itself", columns=("setting", "value", "because"), rows=rows),) if rows else ()


def _plain(value: Any) -> Cell:
    return value if isinstance(value, (str, int, float)) or value is None else json.dumps(value, ensure_ascii=False)


def in_brief(run: Path) -> list[tuple[str, Cell]]:
    """Return time and memory of a run for the head of a page; nothing before it is trained."""
    if not (run / "summary.json").is_file():
        return []
    summary = artefact.read_json(run / "summary.json")
    threads = f"{summary['threads']} thread{'s' * (summary['threads'] != 1)}"
    return [
        ("training", f"{duration(summary['seconds'])} on {summary['device']}, {threads}"),
        ("peak memory", size(summary["peak_memory_bytes"])),
    ]
