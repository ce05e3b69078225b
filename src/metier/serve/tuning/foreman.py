"""Runs the queued jobs, one at a time, each as `metier train` in a process of its own; imports no torch."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy.exc import SQLAlchemyError

from metier.core import artefact, lock
from metier.core.errors import LockedError, MetierError
from metier.serve.faults import told
from metier.serve.refusal import Refusal
from metier.serve.tuning.jobs import Jobs

LOG = logging.getLogger("metier.serve")
_PAUSE_SECONDS = 0.3
_PID = "pid"
_QUEUES = {"METIER_DEVICE_LOCK": "wait"}
"""A job waits for whatever else trains on this machine, unless the server was started with another wish."""


class Foreman(threading.Thread):
    """Works through the queue until told to stop. One foreman a project: a second server leaves the jobs to the first.

    Args:
        jobs: the queue.
        folder: of the jobs; its lock is held.
    """

    def __init__(self, jobs: Jobs, folder: Path) -> None:
        super().__init__(name="jobs", daemon=True)
        self._jobs = jobs
        self._folder = folder
        self._stopped = threading.Event()

    def run(self) -> None:
        """Work until told to stop."""
        while not self._stopped.is_set():
            try:
                with lock.held(self._folder):
                    self._take_over()
                    while not self._stopped.wait(_PAUSE_SECONDS):
                        self._next()
            except LockedError:
                self._stopped.wait(10 * _PAUSE_SECONDS)
            except (SQLAlchemyError, OSError, MetierError) as error:
                LOG.error("the jobs stumbled: %s", told(error))
                self._stopped.wait(10 * _PAUSE_SECONDS)

    def stop(self) -> None:
        """Stop; a running training publishes a checkpoint and goes on when a server starts again."""
        self._stopped.set()
        self.join(timeout=60)

    def _take_over(self) -> None:
        """Queue again what a server that died was running, end what is left of it, and delete what it had begun to."""
        self._jobs.sweep()
        for row in self._jobs.in_state("running"):
            _end_orphan(self._jobs.place(row.id))
            self._jobs.change(row.id, ("running",), status="queued")
            self._jobs.note(row.id, "The server was restarted; training goes on from its last checkpoint", "warn")

    def _next(self) -> None:
        waiting = self._jobs.in_state("queued")
        if waiting and self._jobs.change(waiting[0].id, ("queued",), status="running"):
            self._train(waiting[0])

    def _train(self, row: Any) -> None:
        try:
            folder = self._jobs.write_project(row)
        except (MetierError, Refusal, OSError) as error:
            self._fail(row, "files", str(error))
            return
        self._jobs.note(row.id, "Fine-tuning job started")
        with (folder / "log.txt").open("wb") as log, (folder / "out.json").open("wb") as out:
            command = [sys.executable, "-m", "metier", "train", "--json", "--project", str(folder)]
            process = subprocess.Popen(
                [*command, *self._jobs.arguments(row)], stdin=subprocess.DEVNULL, stdout=out, stderr=log, cwd=folder,
                start_new_session=True, env=_QUEUES | os.environ | {"HF_HUB_OFFLINE": "1"},
            )  # fmt: skip
            artefact.write_file(folder / _PID, str(process.pid))
            self._wait(row, process, folder)
        (folder / _PID).unlink(missing_ok=True)
        self._settle(row, folder, process.returncode)

    def _wait(self, row: Any, process: "subprocess.Popen[bytes]", folder: Path) -> None:
        """Wait for a training; ask it to stop when the job was paused or cancelled, or the server stops."""
        asked, waits_for = False, ""
        while process.poll() is None:
            time.sleep(_PAUSE_SECONDS)
            if not asked and (found := _waits_for(folder)) != waits_for:
                self._jobs.note(row.id, f"Waiting for {found}" if found else "Nobody else trains here now; going on")
                waits_for = found
            if not asked and (self._stopped.is_set() or self._jobs.status(row.id) != "running"):
                process.send_signal(signal.SIGTERM)
                asked = True

    def _settle(self, row: Any, folder: Path, code: int) -> None:
        status = self._jobs.status(row.id)
        if status != "running":
            return
        runs = [path for path in (folder / ".metier" / "runs").glob("*") if (path / "summary.json").is_file()]
        if code == 0 and runs:
            self._jobs.finish(row, max(runs, key=lambda path: path.stat().st_mtime))
        elif self._stopped.is_set():
            self._jobs.change(row.id, ("running",), status="queued")
        else:
            self._fail(row, "training", _reason(folder, code))

    def _fail(self, row: Any, code: str, message: str) -> None:
        error = json.dumps({"code": code, "message": message[:2000], "param": None})
        self._jobs.change(row.id, ("running",), status="failed", error=error, finished=int(time.time()))
        self._jobs.note(row.id, f"Fine-tuning job failed: {message[:2000]}", "error")


def _reason(folder: Path, code: int) -> str:
    """Return what the command line said went wrong."""
    try:
        said = json.loads((folder / "out.json").read_text(encoding="utf-8"))["error"]
        return str(said.get("message") or said.get("found") or said)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {code}"


def _waits_for(folder: Path) -> str:
    """Return which training a job waits for; "": none."""
    try:
        return next(folder.glob(".metier/runs/*/waiting.txt")).read_text(encoding="utf-8")
    except (StopIteration, FileNotFoundError):
        return ""


def _end_orphan(folder: Path) -> None:
    """End a training that outlived its server; only a process that works on this very folder."""
    try:
        process = psutil.Process(int((folder / _PID).read_text(encoding="ascii")))
        if str(folder) in process.cmdline():
            process.terminate()
            process.wait(timeout=120)
    except (OSError, ValueError, psutil.Error):
        return
