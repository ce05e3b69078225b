"""What the training of a job has logged, as the API tells it; imports no torch."""

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

from metier.core import artefact

ANSWERS = 8
"""Answers to each prompt where `compute_multiplier` is 1."""

EPOCHS = "epochs"
"""Folder in a run of the models of its last epochs, by the step after which each ended."""

_TRAIN, _VALID = "train_mean_token_accuracy", "valid_mean_token_accuracy"
_FULL = {"valid_loss": "full_valid_loss", _VALID: "full_valid_mean_token_accuracy"}
_LOGGED = {
    "loss": "train_loss", "accuracy": _TRAIN, "validation_loss": "valid_loss", "validation_accuracy": _VALID,
    "reward": "train_mean_reward", "validation_reward": "valid_mean_reward",
}  # fmt: skip
"""What training logs -> what the API calls it."""

_COLUMNS = {"step": "step", "train_loss": "train_loss", _TRAIN: "train_accuracy", "valid_loss": "valid_loss"}
_COLUMNS |= {name: name for name in (_VALID, *_FULL.values(), "train_mean_reward", "valid_mean_reward")}
_ALWAYS = 5
"""What the API calls it -> its column in a result file; the first of them are there whatever was measured."""


def steps(project: Path) -> list[dict[str, Any]]:
    """Return what was measured of a job's training, step by step: losses, shares of right tokens, mean rewards."""
    return [step for step, _ in _timed(project)]


def _timed(project: Path) -> list[tuple[dict[str, Any], float]]:
    """Return the steps as `steps` does, each with when it was taken, in seconds since 1970."""
    found: dict[int, dict[str, Any]] = {}
    times: dict[int, float] = {}
    for path in sorted((project / ".metier" / "runs").glob("*/metrics.jsonl")):
        whole = _reads_all(path.parent)
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # the line that is being written
                continue
            step = found.setdefault(entry["step"], {"step": entry["step"], "train_loss": None, "valid_loss": None})
            times.setdefault(entry["step"], entry.get("time", path.stat().st_mtime))
            told = {name: entry[key] for key, name in _LOGGED.items() if key in entry}
            step.update(told | ({full: told[name] for name, full in _FULL.items() if name in told} if whole else {}))
    return [(found[number], times[number]) for number in sorted(found)]


def _reads_all(run: Path) -> bool:
    """Tell whether the checks of a run that has ended read every held-out row."""
    path = run / "summary.json"
    summary = artefact.read_json(path) if path.is_file() else {}
    return "measured_rows" in summary and summary["measured_rows"] == summary["held_out_rows"]


def step_metrics(project: Path) -> str:
    """Return the result file of a job."""
    stream = io.StringIO()
    rows = steps(project)
    names = [*_COLUMNS][:_ALWAYS] + [name for name in [*_COLUMNS][_ALWAYS:] if any(name in row for row in rows)]
    writer = csv.DictWriter(stream, [_COLUMNS[name] for name in names])
    writer.writeheader()
    writer.writerows({_COLUMNS[name]: value for name, value in row.items()} for row in rows)
    return stream.getvalue()


def events(id: str, project: Path) -> list[dict[str, Any]]:
    """Return every step of a job as the API writes events, oldest first."""
    return [
        event(f"ftevent-{id[6:]}-s{step['step']}", int(at), f"Step {step['step']}: {_said(step)}", data=step)
        for step, at in _timed(project)
    ]


def _said(step: dict[str, Any]) -> str:
    if "train_mean_reward" in step:
        return f"training mean reward={step['train_mean_reward']}"
    return f"training loss={step['train_loss']}"


def event(id: str, created: int, message: str, *, level: str = "info", data: Any = None) -> dict[str, Any]:
    """Return an event as the API writes it; with `data` it is one of metrics."""
    return {
        "id": id, "object": "fine_tuning.job.event", "created_at": created, "level": level, "message": message,
        "type": "message" if data is None else "metrics", "data": data,
    }  # fmt: skip


def epochs(run: Path) -> list[int]:
    """Return the steps after which those epochs ended whose models a run has kept, in order."""
    return sorted(int(path.parent.name) for path in (run / EPOCHS).glob("*/summary.json"))


def epoch_name(model: str, step: int) -> str:
    """Return the name under which the model of an epoch is served."""
    return f"{model}:ckpt-step-{step}"


def checkpoints(job: dict[str, Any], run: Path, project: Path, ended: list[int]) -> list[dict[str, Any]]:
    """Return the steps of a finished job that are served, latest first.

    Args:
        job: as the API writes it.
        run: the run that it trained.
        project: the job's.
        ended: steps after which the epochs ended that are served beside the best step.
    """
    summary = artefact.read_json(run / "summary.json")
    best = summary["best_step"] or summary["steps"]
    measured = {each["step"]: each for each in steps(project)}
    served = {step: (epoch_name(job["fine_tuned_model"], step), run / EPOCHS / str(step)) for step in ended}
    served[best] = job["fine_tuned_model"], run
    return [
        _checkpoint(job, step, served[step], measured.get(step, {"step": step}))
        for step in sorted(served, reverse=True)
    ]


def clear(folder: Path) -> None:
    """Delete the weights of a model and what they could be had from; what was measured stays. Done twice, done once."""
    artefact.remove(folder / "model")
    for name in ("checkpoints", "parity-reference"):
        shutil.rmtree(folder / name, ignore_errors=True)


def chosen(project: Path) -> dict[str, Any]:
    """Return the hyperparameters of a job's training as the API names them, those that are known by now."""
    runs = [path.parent for path in (project / ".metier" / "runs").glob("*/choices.json")]
    if not runs:
        return {}
    run = max(runs, key=lambda path: path.stat().st_mtime)
    train = artefact.read_json(run / "settings.json")["plan"]["train"]
    made = {each["name"]: each["value"] for each in artefact.read_json(run / "choices.json")}
    rewards = train["objective"]["reinforce"]
    found = {
        "n_epochs": _number(made.get("train.epochs")),
        "batch_size": train["rows_per_step"],
        "learning_rate_multiplier": train["schedule"]["multiplier"],
        "beta": train["objective"]["prefer"]["beta"],
        "eval_samples": rewards["held_out_answers"],
        "compute_multiplier": rewards["answers"] / ANSWERS,
        "eval_interval": train["check"]["steps"],
    }
    return {name: value for name, value in found.items() if value is not None}


def _number(value: float | None) -> float | None:
    """Return a whole number as one: the hosted API counts epochs."""
    return int(value) if value is not None and value == int(value) else value


def _checkpoint(job: dict[str, Any], step: int, served: tuple[str, Path], metrics: dict[str, Any]) -> dict[str, Any]:
    name, folder = served
    return {
        "id": f"ftckpt_{job['id'][6:]}-{step}", "object": "fine_tuning.job.checkpoint",
        "created_at": int((folder / "summary.json").stat().st_mtime), "fine_tuning_job_id": job["id"],
        "fine_tuned_model_checkpoint": name, "step_number": step, "metrics": metrics,
    }  # fmt: skip
