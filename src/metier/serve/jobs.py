"""Fine-tuning jobs: each a project of its own, trained by the same command line in a process of its own; no torch.

The queue is in the database. A job that was running when the server died is queued again, and its training goes on
from its last checkpoint.
"""

import csv
import io
import json
import logging
import secrets
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sql
import yaml

from metier.core import artefact
from metier.core.errors import InputError, SettingsError
from metier.core.settings import parse_overrides
from metier.model.find import Base
from metier.serve.database import EVENTS, JOBS
from metier.serve.files import Files
from metier.serve.keys import Caller
from metier.serve.refusal import Refusal, unsupported
from metier.serve.wire import Hyperparameters, JobBody

LOG = logging.getLogger("metier.serve")
_SECTIONS = ("train.", "model.")
ENDED = ("succeeded", "failed", "cancelled")


class Jobs:
    """The jobs of a project.

    Args:
        database: where they are kept.
        folder: where their projects are made.
        base: what is trained.
        files: of the callers.
    """

    def __init__(self, database: sql.Engine, folder: Path, *, base: Base, files: Files) -> None:
        self._database = database
        self._folder = folder
        self._base = base
        self.files = files

    def create(self, caller: Caller, body: JobBody) -> dict[str, Any]:
        """Queue a job.

        Raises:
            Refusal: another base, a file that is not there, a method or setting that is not served.
        """
        _check(body)
        if body.model != self._base.name:
            raise Refusal(
                400, f"model {body.model[:80]!r} is not trained here; wanted: {self._base.name}", param="model"
            )
        for name in (body.training_file, body.validation_file):
            if name is not None:
                self.files.get(caller, name)
        _overrides(body)
        id = f"ftjob-{secrets.token_hex(12)}"
        asked = body.model_dump(exclude_none=True)
        with self._database.begin() as connection:
            connection.execute(
                JOBS.insert().values(
                    id=id, created=int(time.time()), owner=caller.id, status="queued", asked=json.dumps(asked)
                )
            )
        self.note(id, "Created fine-tuning job")
        return self.get(caller, id)

    def get(self, caller: Caller, id: str) -> dict[str, Any]:
        """Return a job as the API writes it.

        Raises:
            Refusal: there is none, or it is somebody else's.
        """
        return _written(self._row(caller, id))

    def all(self, caller: Caller) -> list[dict[str, Any]]:
        """Return the caller's jobs, newest first."""
        wanted = sql.select(JOBS).order_by(JOBS.c.created.desc(), JOBS.c.id)
        if not caller.may("admin"):
            wanted = wanted.where(JOBS.c.owner == caller.id)
        with self._database.connect() as connection:
            return [_written(row) for row in connection.execute(wanted).all()]

    def turn(self, caller: Caller, id: str, *, to: str, only: tuple[str, ...]) -> dict[str, Any]:
        """Change a job's status; the foreman sees it.

        Raises:
            Refusal: it is in a state from which that cannot be done.
        """
        row = self._row(caller, id)
        if not self.change(id, only, status=to, finished=int(time.time()) if to in ENDED else None):
            raise Refusal(400, f"job {id}: is {row.status}; wanted: {' or '.join(only)}", code="job_state")
        self.note(id, f"Fine-tuning job {to}")
        return self.get(caller, id)

    def change(self, id: str, only: tuple[str, ...], **values: Any) -> bool:
        """Change a job if it is in one of some states; tell whether it was."""
        with self._database.begin() as connection:
            chosen = JOBS.update().where(JOBS.c.id == id, JOBS.c.status.in_(only)).values(**values)
            return connection.execute(chosen).rowcount > 0

    def status(self, id: str) -> str:
        """Return the state of a job."""
        with self._database.connect() as connection:
            return connection.execute(sql.select(JOBS.c.status).where(JOBS.c.id == id)).scalar_one()

    def in_state(self, *states: str) -> list[Any]:
        """Return jobs in some states, oldest first."""
        with self._database.connect() as connection:
            wanted = sql.select(JOBS).where(JOBS.c.status.in_(states)).order_by(JOBS.c.created, JOBS.c.id)
            return list(connection.execute(wanted).all())

    def names(self) -> dict[str, Path]:
        """Return the names that jobs gave to what they trained, with the folders of the runs."""
        return {row.model: Path(row.run) for row in self.in_state("succeeded") if row.model and row.run}

    def note(self, id: str, message: str, level: str = "info") -> None:
        """Write down that something happened."""
        with self._database.begin() as connection:
            connection.execute(
                EVENTS.insert().values(job=id, created=int(time.time()), level=level, type="message", message=message)
            )

    def events(self, caller: Caller, id: str) -> list[dict[str, Any]]:
        """Return what happened to a job, newest first: its states, and every step with its losses."""
        self._row(caller, id)
        with self._database.connect() as connection:
            rows = connection.execute(sql.select(EVENTS).where(EVENTS.c.job == id).order_by(EVENTS.c.number)).all()
        said = [
            _event(f"ftevent-{id[6:]}-{row.number}", row.created, row.message, level=row.level) for row in rows
        ]  # fmt: skip
        return [*reversed(self._steps(id)), *reversed(said)]

    def _steps(self, id: str) -> list[dict[str, Any]]:
        found = []
        created = int(self.place(id).stat().st_ctime) if self.place(id).exists() else 0
        for number, step in enumerate(steps(self.place(id))):
            data = {"step": step["step"], "train_loss": step["train_loss"], "valid_loss": step["valid_loss"]}
            words = f"Step {step['step']}: training loss={step['train_loss']}"
            found.append(_event(f"ftevent-{id[6:]}-s{number}", created, words, data=data))
        return found

    def place(self, id: str) -> Path:
        """Return the folder of a job's project; the id is one of ours."""
        return self._folder / id

    def write_project(self, row: Any) -> Path:
        """Write the project of a job, once, and return its folder."""
        folder = self.place(row.id)
        if (folder / "metier.yaml").is_file():
            return folder
        body = JobBody.model_validate(json.loads(row.asked))
        owner = Caller(id=row.owner, scopes=frozenset({"train"}))
        data = {"train": "train.jsonl"}
        artefact.write_file(folder / "train.jsonl", self.files.content(owner, body.training_file))
        if body.validation_file is not None:
            data["validation"] = "validation.jsonl"
            artefact.write_file(folder / "validation.jsonl", self.files.content(owner, body.validation_file))
        chosen = self._base.name if self._base.kind in ("bundled", "hub") else str(self._base.folder)
        project: dict[str, Any] = {
            "name": "job",
            "base": {"config": chosen} if self._base.kind == "config" else chosen,
            "data": data,
            "seed": body.seed or 0,
            "prepare": {"test_share": 0},
        }
        artefact.write_file(folder / "metier.yaml", yaml.safe_dump(project, sort_keys=False))
        return folder

    def arguments(self, row: Any) -> list[str]:
        """Return the settings of a job as the command line takes them."""
        return _overrides(JobBody.model_validate(json.loads(row.asked)))

    def finish(self, row: Any, run: Path) -> None:
        """Publish what a job trained, under its `ft:` name."""
        body = JobBody.model_validate(json.loads(row.asked))
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        owner = Caller(id=row.owner, scopes=frozenset({"train"}))
        content = step_metrics(self.place(row.id)).encode()
        file = self.files.add(owner, filename="step_metrics.csv", purpose="fine-tune-results", content=content)
        name = f"ft:{self._base.name}:metier:{body.suffix or ''}:{row.id.removeprefix('ftjob-')[:8]}"
        self.change(
            row.id, ("running",), status="succeeded", model=name, run=str(run), result_file=file["id"],
            tokens=summary["tokens"], finished=int(time.time()),
        )  # fmt: skip
        self.note(row.id, f"New fine-tuned model created: {name}")

    def checkpoint(self, job: dict[str, Any]) -> dict[str, Any]:
        """Return the step of a finished job that is served."""
        run = self.names()[job["fine_tuned_model"]]
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        step = summary["best_step"] or summary["steps"]
        found = next((each for each in steps(self.place(job["id"])) if each["step"] == step), {"step": step})
        return {
            "id": f"ftckpt_{job['id'][6:]}", "object": "fine_tuning.job.checkpoint", "created_at": job["finished_at"],
            "fine_tuning_job_id": job["id"], "fine_tuned_model_checkpoint": job["fine_tuned_model"],
            "step_number": step, "metrics": found,
        }  # fmt: skip

    def _row(self, caller: Caller, id: str) -> Any:
        with self._database.connect() as connection:
            row = connection.execute(sql.select(JOBS).where(JOBS.c.id == id)).first()
        if row is None or not (row.owner == caller.id or caller.may("admin")):
            raise Refusal(404, f"no fine-tuning job {id[:80]!r}", param="fine_tuning_job_id", code="not_found")
        return row


def _check(body: JobBody) -> None:
    if body.method is not None and body.method.type != "supervised":
        raise unsupported("method.type", "only 'supervised' is trained here")
    if body.method is not None and body.hyperparameters is not None:
        raise unsupported("hyperparameters", "method says the same")
    if _hyperparameters(body).learning_rate_multiplier not in ("auto", 1):
        raise unsupported(
            "learning_rate_multiplier", 'set the rate itself: extra_body={"settings": {"train.learning_rate": 1e-4}}'
        )
    for name, value in (body.metadata or {}).items():
        if len(name) > 64 or len(value) > 512:
            raise Refusal(400, "metadata: names up to 64 and values up to 512 characters", param="metadata")


def _hyperparameters(body: JobBody) -> Hyperparameters:
    if body.method is not None and body.method.supervised is not None:
        return body.method.supervised.hyperparameters
    return body.hyperparameters or Hyperparameters()


def _overrides(body: JobBody) -> list[str]:
    """Return the settings of a job as arguments.

    Raises:
        Refusal: a setting that a request may not make.
    """
    chosen = _hyperparameters(body)
    settings: dict[str, Any] = dict(body.settings or {})
    for name in settings:
        if not name.startswith(_SECTIONS) or not name.replace(".", "").replace("_", "").isalnum() or "file" in name:
            raise Refusal(400, f"settings: {name[:80]!r}; wanted: names under train and model", param="settings")
    if chosen.n_epochs != "auto":
        settings["train.epochs"] = chosen.n_epochs
    if chosen.batch_size != "auto":
        settings["train.rows_per_step"] = chosen.batch_size
    arguments = [f"--{name.replace('_', '-')}={json.dumps(value)}" for name, value in settings.items()]
    try:
        parse_overrides(arguments)
    except (SettingsError, InputError) as error:
        raise Refusal(400, f"settings: {error}", param="settings") from error
    return arguments


def _event(id: str, created: int, message: str, *, level: str = "info", data: Any = None) -> dict[str, Any]:
    return {
        "id": id, "object": "fine_tuning.job.event", "created_at": created, "level": level, "message": message,
        "type": "message" if data is None else "metrics", "data": data,
    }  # fmt: skip


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
    writer = csv.DictWriter(stream, ["step", "train_loss", "valid_loss"])
    writer.writeheader()
    writer.writerows(steps(project))
    return stream.getvalue()


def _written(row: Any) -> dict[str, Any]:
    body = JobBody.model_validate(json.loads(row.asked))
    chosen = _hyperparameters(body).model_dump()
    return {
        "id": row.id, "object": "fine_tuning.job", "created_at": row.created, "finished_at": row.finished,
        "model": body.model, "fine_tuned_model": row.model, "organization_id": "metier", "status": row.status,
        "training_file": body.training_file, "validation_file": body.validation_file,
        "result_files": [row.result_file] if row.result_file else [], "hyperparameters": chosen,
        "method": {"type": "supervised", "supervised": {"hyperparameters": chosen}}, "seed": body.seed or 0,
        "trained_tokens": row.tokens, "estimated_finish": None, "integrations": [],
        "error": json.loads(row.error) if row.error else {"code": None, "message": None, "param": None},
        "metadata": body.metadata, "user_provided_suffix": body.suffix,
    }  # fmt: skip
