"""What the training of a job has logged, as the API tells it; imports no torch."""

import csv
import io
import json
from pathlib import Path
from typing import Any

_COLUMNS = ("step", "train_loss", "valid_loss")


def steps(project: Path) -> list[dict[str, Any]]:
    """Return step, training loss and (where measured) validation loss of a job's training."""
    found: dict[int, dict[str, Any]] = {}
    for path in sorted((project / ".metier" / "runs").glob("*/metrics.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # the line that is being written
                continue
            step = found.setdefault(entry["step"], {"step": entry["step"], "train_loss": None, "valid_loss": None})
            step["train_loss"] = entry.get("loss", step["train_loss"])
            step["valid_loss"] = entry.get("validation_loss", step["valid_loss"])
    return [found[number] for number in sorted(found)]


def step_metrics(project: Path) -> str:
    """Return the result file of a job."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, _COLUMNS)
    writer.writeheader()
    writer.writerows(steps(project))
    return stream.getvalue()


def events(id: str, project: Path) -> list[dict[str, Any]]:
    """Return every step of a job as the API writes events, oldest first."""
    created = int(project.stat().st_ctime) if project.exists() else 0
    return [
        event(
            f"ftevent-{id[6:]}-s{number}", created, f"Step {step['step']}: training loss={step['train_loss']}",
            data={name: step[name] for name in _COLUMNS},
        )
        for number, step in enumerate(steps(project))
    ]  # fmt: skip


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
