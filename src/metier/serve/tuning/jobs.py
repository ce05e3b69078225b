"""Fine-tuning jobs: each a project of its own, trained by the same command line in a process of its own; no torch.

The queue is in the database. A job that was running when the server died is queued again, and its training goes on
from its last checkpoint.
"""

import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from metier.core import artefact
from metier.model.find import Base
from metier.serve.keys import Caller
from metier.serve.refusal import Refusal
from metier.serve.settings import GraderSettings
from metier.serve.tables import DELETED, EVENTS, JOBS
from metier.serve.tuning import project, results
from metier.serve.tuning.files import Files
from metier.serve.webhooks import Webhooks
from metier.serve.wire.tuning import JobBody

ENDED = ("succeeded", "failed", "cancelled")


class Jobs:
    """The jobs of a project.

    Args:
        database: where they are kept.
        folder: where their projects are made.
        base: what is trained.
        files: of the callers.
        webhooks: who is told when a job ends.
        graders: what graders may do that come with a job.
    """

    def __init__(
        self, database: sql.Engine, folder: Path, *, base: Base, files: Files, webhooks: Webhooks | None = None,
        graders: GraderSettings | None = None,
    ) -> None:  # fmt: skip
        self._database = database
        self._folder = folder.resolve()  # trainings work elsewhere: what is relative here is nothing there
        self._base = base
        self._webhooks = webhooks
        self._chosen: dict[str, dict[str, Any]] = {}
        self.files = files
        self.graders = graders or GraderSettings()

    def create(self, caller: Caller, body: JobBody) -> dict[str, Any]:
        """Queue a job.

        Raises:
            Refusal: another base, a file that is not there, a method or setting that is not served.
        """
        project.check(body, self.graders)
        if body.model != self._base.name:
            raise Refusal(
                400, f"model {body.model[:80]!r} is not trained here; wanted: {self._base.name}", param="model"
            )
        for name in (body.training_file, body.validation_file):
            if name is not None:
                self.files.get(caller, name)
        id = f"ftjob-{secrets.token_hex(12)}"
        asked = body.model_dump(exclude_none=True)
        now = time.time_ns()
        values = {"id": id, "created": now // 10**9, "queued_ns": now, "owner": caller.owner, "status": "queued"}
        with self._database.begin() as connection:
            connection.execute(JOBS.insert().values(**values, asked=json.dumps(asked)))
        self.note(id, "Created fine-tuning job")
        return self.get(caller, id)

    def get(self, caller: Caller, id: str) -> dict[str, Any]:
        """Return a job as the API writes it.

        Raises:
            Refusal: there is none, or it is somebody else's.
        """
        return self._written(self._row(caller, id))

    def all(self, caller: Caller) -> list[dict[str, Any]]:
        """Return the caller's jobs, newest first."""
        wanted = sql.select(JOBS).order_by(JOBS.c.created.desc(), JOBS.c.queued_ns.desc(), JOBS.c.id)
        if not caller.may("admin"):
            wanted = wanted.where(JOBS.c.owner == caller.owner)
        with self._database.connect() as connection:
            rows = connection.execute(wanted).all()
        return [self._written(row) for row in rows]

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
        """Change a job if it is in one of some states; tell whether it was. Whoever waits for its end is told."""
        with self._database.begin() as connection:
            chosen = JOBS.update().where(JOBS.c.id == id, JOBS.c.status.in_(only)).values(**values)
            changed = connection.execute(chosen).rowcount > 0
            if changed and self._webhooks is not None and values.get("status") in ENDED:
                owner = connection.execute(sql.select(JOBS.c.owner).where(JOBS.c.id == id)).scalar_one()
                self._webhooks.tell(connection, owner, f"fine_tuning.job.{values['status']}", id)
            return changed

    def status(self, id: str) -> str:
        """Return the state of a job."""
        with self._database.connect() as connection:
            return connection.execute(sql.select(JOBS.c.status).where(JOBS.c.id == id)).scalar_one()

    def in_state(self, *states: str) -> list[Any]:
        """Return jobs in some states, oldest first."""
        with self._database.connect() as connection:
            wanted = (
                sql.select(JOBS).where(JOBS.c.status.in_(states)).order_by(JOBS.c.created, JOBS.c.queued_ns, JOBS.c.id)
            )
            return list(connection.execute(wanted).all())

    def names(self) -> dict[str, Path]:
        """Return the names that jobs gave to what they trained, and to its last epochs, with their folders."""
        gone = self._deleted()
        models = [self._models(row) for row in self.in_state("succeeded")]
        return {name: folder for each in models for name, folder in each.items() if name not in gone}

    def _models(self, row: Any) -> dict[str, Path]:
        """Return what a job that has succeeded gave names to, deleted or not."""
        run = self._folder / row.run
        steps = {results.epoch_name(row.model, step): run / results.EPOCHS / str(step) for step in _epochs(row)}
        return {row.model: run} | steps

    def maker(self, caller: Caller, name: str) -> Any:
        """Return the job of the caller's that made a model; None: none did, or the model was deleted."""
        rows = [row for row in self.in_state("succeeded") if name in self._models(row) and _may(caller, row)]
        return rows[0] if rows and name not in self._deleted() else None

    def delete(self, row: Any, name: str) -> bool:
        """Delete a model that a job made; tell whether it was there.

        The name goes first, in one transaction: a server that dies before the files are gone deletes them when it
        starts again (`sweep`). What the job measured and said stays.
        """
        try:
            with self._database.begin() as connection:
                connection.execute(DELETED.insert().values(id=name, job=row.id, created=int(time.time())))
        except sql.exc.IntegrityError:  # somebody else was faster
            return False
        results.clear(self._models(row)[name])
        self.note(row.id, f"Model deleted: {name}")
        return True

    def sweep(self) -> None:
        """Delete the files of models that were deleted when a server died."""
        gone = self._deleted()
        for row in self.in_state("succeeded"):
            for name, folder in self._models(row).items():
                if name in gone:
                    results.clear(folder)

    def _deleted(self) -> frozenset[str]:
        with self._database.connect() as connection:
            return frozenset(connection.execute(sql.select(DELETED.c.id)).scalars())

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
            results.event(f"ftevent-{id[6:]}-{row.number}", row.created, row.message, level=row.level) for row in rows
        ]
        both = [*results.events(id, self.place(id)), *said]
        return sorted(both, key=lambda event: event["created_at"])[::-1]

    def checkpoints(self, caller: Caller, id: str) -> list[dict[str, Any]]:
        """Return what of a finished job can be served, latest first: the step judged best and its last epochs."""
        row = self._row(caller, id)
        if row.status != "succeeded" or not row.model or not row.run:
            return []
        found = results.checkpoints(self._written(row), self._folder / row.run, self.place(id), _epochs(row))
        gone = self._deleted()
        return [each for each in found if each["fine_tuned_model_checkpoint"] not in gone]

    def place(self, id: str) -> Path:
        """Return the folder of a job's project; the id is one of ours."""
        return self._folder / id

    def write_project(self, row: Any) -> Path:
        """Write the project of a job, once, and return its folder."""
        folder = self.place(row.id)
        if (folder / "metier.yaml").is_file():
            return folder
        body = _asked(row)
        owner = Caller(id=row.owner, scopes=frozenset({"train"}))
        training = self.files.content(owner, body.training_file)
        validation = self.files.content(owner, body.validation_file) if body.validation_file is not None else None
        project.write(folder, body, self._base, self.graders, training=training, validation=validation)
        return folder

    def arguments(self, row: Any) -> list[str]:
        """Return the settings of a job as the command line takes them."""
        return project.overrides(_asked(row))

    def finish(self, row: Any, run: Path) -> None:
        """Publish what a job trained, under its `ft:` name."""
        body = _asked(row)
        summary = artefact.read_json(run / "summary.json")
        owner = Caller(id=row.owner, scopes=frozenset({"train"}))
        content = results.step_metrics(self.place(row.id)).encode()
        file = self.files.add(owner, filename="step_metrics.csv", purpose="fine-tune-results", content=content)
        name = f"ft:{self._base.name}:metier:{body.suffix or ''}:{row.id.removeprefix('ftjob-')[:8]}"
        done = self.change(
            row.id, ("running",), status="succeeded", model=name, result_file=file["id"],
            epochs=json.dumps(results.epochs(run)), run=str(run.relative_to(self._folder)),
            tokens=summary["tokens"], finished=int(time.time()),
        )  # fmt: skip
        if done:
            self.note(row.id, f"New fine-tuned model created: {name}")

    def _row(self, caller: Caller, id: str) -> Any:
        with self._database.connect() as connection:
            row = connection.execute(sql.select(JOBS).where(JOBS.c.id == id)).first()
        if row is None or not _may(caller, row):
            raise Refusal(404, f"no fine-tuning job {id[:80]!r}", param="fine_tuning_job_id", code="not_found")
        return row

    def _written(self, row: Any) -> dict[str, Any]:
        """Return a job as the API writes it, with numbers in the place of `auto` as soon as its training chose them."""
        chosen = self._chosen.get(row.id)
        if chosen is None:
            chosen = results.chosen(self.place(row.id))
            if row.status in ENDED:
                self._chosen[row.id] = chosen
        return _written(row, chosen)


def _may(caller: Caller, row: Any) -> bool:
    return row.owner == caller.owner or caller.may("admin")


def _asked(row: Any) -> JobBody:
    return JobBody.model_validate(json.loads(row.asked))


def _epochs(row: Any) -> list[int]:
    return json.loads(row.epochs) if row.epochs else []


def _written(row: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    body = _asked(row)
    asked = project.hyperparameters(body).model_dump()
    chosen = {name: known.get(name, value) if value == "auto" else value for name, value in asked.items()}
    method = body.method.type if body.method is not None else "supervised"
    rewards = project.reinforcement(body)
    grader = {} if rewards is None else {"grader": {"name": rewards.grader["type"]} | rewards.grader}
    return {
        "id": row.id, "object": "fine_tuning.job", "created_at": row.created, "finished_at": row.finished,
        "model": body.model, "fine_tuned_model": row.model, "organization_id": "metier", "status": row.status,
        "training_file": body.training_file, "validation_file": body.validation_file,
        "result_files": [row.result_file] if row.result_file else [], "hyperparameters": chosen,
        "method": {"type": method, method: {**grader, "hyperparameters": chosen}}, "seed": body.seed or 0,
        "trained_tokens": row.tokens, "estimated_finish": None, "integrations": [],
        "error": json.loads(row.error) if row.error else None,
        "metadata": body.metadata, "user_provided_suffix": body.suffix,
    }  # fmt: skip
