"""The outcome of a sweep as a Report, and as lines for metier.yaml; imports no torch."""

import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from metier.core import artefact
from metier.core.errors import DataError
from metier.core.report import Cell, Figure, Report, Series, Table, Verdict
from metier.report import html, markdown
from metier.report.page import page_of

_RATE = "train.learning_rate"
_CURVES = 5


def report(sweep: Path) -> Report:
    """Tell what a sweep found: verdict, table of trials, recipe, curves.

    Raises:
        DataError: the sweep has not ended.
    """
    facts = read(sweep)
    trials, names = facts["trials"], list(facts["over"])
    seconds = math.fsum(trial["seconds"] for trial in trials)
    return Report(
        title=f"Sweep over {', '.join(names)}",
        verdict=_verdict(trials),
        facts=(
            ("trials", len(trials)),
            ("steps in all", sum(trial["steps"] for trial in trials)),
            ("seconds of training", round(seconds, 1)),
        ),
        tables=(_recipe(trials, names), _trials(trials, names, facts["settings"]["rungs"])),
        figures=(_over_rate(trials), _curves(trials, names)) if _RATE in names else (_curves(trials, names),),
        command=f"metier run {_options(trials[0]['point'])}".strip(),
    )


def write(sweep: Path) -> None:
    """Write the report beside sweep.json, as HTML and as Markdown."""
    page = page_of(report(sweep))
    (sweep / "report.html").write_text(html.render(page), encoding="utf-8")
    (sweep / "report.md").write_text(markdown.render(page), encoding="utf-8")


def recipe(sweep: Path) -> str:
    """Return the best trial's settings as YAML, to be laid over metier.yaml; "" where the project as it is won."""
    nested: dict[str, Any] = {}
    for name, value in read(sweep)["trials"][0]["point"].items():
        *path, last = name.split(".")
        inner = nested
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return yaml.safe_dump(nested, sort_keys=False) if nested else ""


def read(sweep: Path) -> dict[str, Any]:
    """Read sweep.json; its first trial is the best one."""
    path = sweep / "sweep.json"
    if not path.is_file():
        raise DataError(f"{path}: missing", "a sweep run to its end", "metier sweep")
    return artefact.read_json(path)


def _verdict(trials: Sequence[dict[str, Any]]) -> Verdict:
    best = trials[0]
    losses = {trial["best_loss"] for trial in trials if trial["rung"] == 0 and not trial["failed"]}
    if len(trials) > 2 and len(losses) == 1 and all(trial["curve"][:1] == best["curve"][:1] for trial in trials):
        return Verdict(text="The searched settings changed nothing: every trial has the same loss.", good=None)
    if not best["point"]:
        text = f"Nothing tried was better than the project as it is (validation loss {best['best_loss']:.4f})."
        return Verdict(text=text, good=None)
    start = next(trial for trial in trials if not trial["point"])
    text = f"{_named(best['settings'])}: validation loss {best['best_loss']:.4f} at step {best['best_step']:,}"
    return Verdict(text=f"{text}; {_against(best, start)}.", good=True)


def _against(best: dict[str, Any], start: dict[str, Any]) -> str:
    """Compare with the project as it is, where both were measured."""
    if start["failed"]:
        return "the project as it is failed"
    there = dict(map(tuple, best["curve"]))
    step = max((step for step, _ in start["curve"] if step in there), default=None)
    if step is None:
        return f"the project as it is had {start['best_loss']:.4f} after {start['steps']:,} steps"
    both = f"{there[step]:.4f} against {dict(map(tuple, start['curve']))[step]:.4f}"
    return f"after {step:,} steps it was {both} with the project as it is"


def _recipe(trials: Sequence[dict[str, Any]], names: Sequence[str]) -> Table:
    start = next(trial for trial in trials if not trial["point"])
    best = trials[0]
    rows = tuple((name, _cell(best["settings"][name]), _cell(start["settings"][name])) for name in names)
    note = "Lowest validation loss of the trials that reached the end of their run."
    return Table(title="Recommended", columns=("setting", "recommended", "as it is now"), rows=rows, note=note)


def _trials(trials: Sequence[dict[str, Any]], names: Sequence[str], rungs: int) -> Table:
    columns = ("trial", *names, "steps", "best validation loss", "at step", "seconds", "reached")
    rows = tuple(
        (
            trial["number"],
            *(_cell(trial["settings"][name]) for name in names),
            trial["steps"],
            trial["best_loss"],
            trial["best_step"],
            round(trial["seconds"], 2),
            _end(trial, rungs),
        )
        for trial in trials
    )
    note = "Losses of trials that ended at different rungs cannot be compared: the earlier one had fewer steps."
    return Table(title="Trials, best first", columns=columns, rows=rows, note=note)


def _end(trial: dict[str, Any], rungs: int) -> str:
    rung = f"rung {trial['rung'] + 1} of {rungs}"
    if trial["failed"]:
        return f"{rung}, failed: {trial['failed']}"
    return f"{rung}, no longer better" if trial["stopped"] else rung


def _over_rate(trials: Sequence[dict[str, Any]]) -> Figure:
    series = []
    for rung in sorted({trial["rung"] for trial in trials}):
        points = sorted(
            (math.log10(trial["settings"][_RATE]), trial["best_loss"])
            for trial in trials
            if trial["rung"] == rung and not trial["failed"] and trial["best_loss"] is not None
        )
        if points:
            x, y = zip(*points, strict=True)
            series.append(Series(name=f"ended at rung {rung + 1}", x=x, y=y))
    return Figure(
        title="Loss over learning rate",
        kind="lines",
        series=tuple(series),
        x_label="learning rate, as a power of ten",
        y_label="nats",
    )


def _curves(trials: Sequence[dict[str, Any]], names: Sequence[str]) -> Figure:
    shown = [trial for trial in trials if trial["curve"]][:_CURVES]
    series = tuple(
        Series(
            name=f"{trial['number']}: {_named({name: trial['settings'][name] for name in names})}",
            x=[float(step) for step, _ in trial["curve"]],
            y=[loss for _, loss in trial["curve"]],
        )
        for trial in shown
    )
    note = f"The {len(shown)} best trials." if len(shown) < len(trials) else ""
    return Figure(title="Validation loss", kind="lines", series=series, x_label="step", y_label="nats", note=note)


def _named(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name.rpartition('.')[2]} {_cell(value)}" for name, value in settings.items())


def _options(point: dict[str, Any]) -> str:
    """Write a point as a command line, in full digits and as a shell takes it."""
    written = {
        name.replace("_", "-"): value if isinstance(value, str) else json.dumps(value) for name, value in point.items()
    }
    return " ".join(f"--{name} {shlex.quote(value)}" for name, value in written.items())


def _cell(value: Any) -> Cell:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, (str, int)) else json.dumps(value)
