"""What was asked and how it went: written by a thread of its own, so that no request ever waits for it; no torch."""

import logging
import queue
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import SQLAlchemyError

from metier.serve.database import FEEDBACK, TRACES

LOG = logging.getLogger("metier.serve")
_MOST_WAITING = 10_000
_AT_ONCE = 500
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One request. Times in milliseconds since it arrived; texts only where the settings ask for them."""

    id: str
    time: float
    route: str
    caller: str
    user: str
    model: str
    base: str
    digest: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    first_token_ms: float | None
    total_ms: float
    finish: str
    prompt: str | None = None
    answer: str | None = None


class Recorder:
    """Takes traces and feedback, and loses nothing as long as it keeps up; what it drops is counted."""

    def __init__(self, database: sql.Engine, *, most_waiting: int = _MOST_WAITING) -> None:
        self._database = database
        self._waiting: queue.Queue[tuple[sql.Table, dict[str, Any]] | None] = queue.Queue(most_waiting)
        self.written = self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def trace(self, trace: Trace) -> None:
        """Record a request."""
        self._put(TRACES, asdict(trace))

    def feedback(self, values: dict[str, Any]) -> None:
        """Record what somebody thought of an answer."""
        self._put(FEEDBACK, values | {"time": time.time()})

    def _put(self, table: sql.Table, values: dict[str, Any]) -> None:
        try:
            self._waiting.put_nowait((table, values))
        except queue.Full:
            self.dropped += 1

    def _run(self) -> None:
        ended = False
        while not ended:
            batch = [self._waiting.get()]
            time.sleep(0 if batch[0] is None else _PAUSE_SECONDS)
            while len(batch) < _AT_ONCE and not self._waiting.empty():
                batch.append(self._waiting.get())
            ended = None in batch
            self._write([entry for entry in batch if entry is not None])

    def _write(self, entries: list[tuple[sql.Table, dict[str, Any]]]) -> None:
        try:
            with self._database.begin() as connection:
                for table in (TRACES, FEEDBACK):
                    rows = [values for owner, values in entries if owner is table]
                    if rows:
                        connection.execute(table.insert(), rows)
            self.written += len(entries)
        except SQLAlchemyError:
            LOG.exception("%d traces could not be written", len(entries))
            self.dropped += len(entries)

    def close(self) -> None:
        """Write what waits, and end."""
        self._waiting.put(None)
        self._thread.join(timeout=10)
