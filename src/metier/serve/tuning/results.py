"""What the training of a job has logged, as the API tells it; imports no torch."""

import csv
import io
import json
from pathlib import Path
from typing import Any

_COLUMNS = ("step", "train_loss", "valid_loss")
_LOGGED = {
    "loss": "train_loss", "validation_loss": "valid_loss", "reward": "train_mean_reward",
    "validation_reward": "valid_mean_reward",
}  # fmt: skip
"""What training logs -> what the API calls it."""


def steps(project: Path) -> list[dict[str, Any]]:
    """Return step, losses and (where the model learns from them) mean rewards of a job's training, where measured."""
    found: dict[int, dict[str, Any]] = {}
    for path in sorted((project / ".metier" / "runs").glob("*/metrics.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # the line that is being written
                continue
            step = found.setdefault(entry["step"], {"step": entry["step"], "train_loss": None, "valid_loss": None})
            step.update({name: entry[key] for key, name in _LOGGED.items() if key in entry})
    return [found[number] for number in sorted(found)]


def step_metrics(project: Path) -> str:
    """Return the result file of a job."""
    stream = io.StringIO()
    rows = steps(project)
    rewards = [name for name in _LOGGED.values() if name not in _COLUMNS and any(name in row for row in rows)]
    writer = csv.DictWriter(stream, [*_COLUMNS, *rewards])
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def events(id: str, project: Path) -> list[dict[str, Any]]:
    """Return every step of a job as the API writes events, oldest first."""
    created = int(project.stat().st_ctime) if project.exists() else 0
    return [
        event(
            f"ftevent-{id[6:]}-s{number}", created, f"Step {step['step']}: {_said(step)}", data=step,
        )
        for number, step in enumerate(steps(project))
    ]  # fmt: skip


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


def checkpoint(job: dict[str, Any], run: Path, project: Path) -> dict[str, Any]:
    """Return the step of a finished job that is served.

    Args:
        job: as the API writes it.
        run: the run that it trained.
        project: the job's.
    """
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    step = summary["best_step"] or summary["steps"]
    found = next((each for each in steps(project) if each["step"] == step), {"step": step})
    return {
        "id": f"ftckpt_{job['id'][6:]}", "object": "fine_tuning.job.checkpoint", "created_at": job["finished_at"],
        "fine_tuning_job_id": job["id"], "fine_tuned_model_checkpoint": job["fine_tuned_model"],
        "step_number": step, "metrics": found,
    }  # fmt: skip
