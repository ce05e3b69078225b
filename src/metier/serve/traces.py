"""What was asked and how it went: written by a thread of its own, so that no request ever waits for it; no torch."""

import hashlib
import logging
import math
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import SQLAlchemyError

from metier.serve.faults import told
from metier.serve.redact import Redactor
from metier.serve.rollouts.checks import Check
from metier.serve.settings import RecordSettings
from metier.serve.spans import Spans
from metier.serve.tables import FEEDBACK, ROLLOUTS, TRACES

LOG = logging.getLogger("metier.serve")
_MOST_WAITING = 10_000
_AT_ONCE = 500
_PAUSE_SECONDS = 0.2
_SWEEP_SECONDS = 600.0
_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One request. Times in milliseconds since it arrived; texts only where the settings ask for them.

    `asked`: the model as the request named it. `rollout`, `arm`: which one, and who answered for it. `beside`: the
    request to which this answer was given too, unseen. `agrees`: whether it was that answer (1 or 0). `passed`: whether
    the rollout's check holds. `cost`: in the currency of the prices.
    """

    id: str
    time: float
    route: str
    caller: str
    user: str
    asked: str
    model: str
    base: str
    digest: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    first_token_ms: float | None
    total_ms: float
    finish: str
    cost: float | None = None
    rollout: str = ""
    arm: str = ""
    beside: str = ""
    agrees: int | None = None
    passed: int | None = None
    prompt: str | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What waits to be written: a row of a table; for a trace, its check, of what, and the request's parent."""

    table: sql.Table
    values: dict[str, Any]
    check: Check | None = None
    said: tuple[str, ...] = ()
    parent: str = ""


class Recorder:
    """Takes traces and feedback, and loses nothing as long as it keeps up; what it drops is counted.

    Args:
        database: where they are kept.
        settings: what of them is kept, for how long.
        most_waiting: beyond this many, further ones are dropped.

    Raises:
        InputError: a pattern of `settings` is none.
        MissingExtraError: spans are wanted, and their library is not installed.
    """

    def __init__(
        self, database: sql.Engine, settings: RecordSettings | None = None, *, most_waiting: int = _MOST_WAITING
    ) -> None:
        self._database = database
        self._settings = settings or RecordSettings()
        self._redactor = Redactor(known=self._settings.redact, patterns=self._settings.redact_patterns)
        self._spans = Spans(self._settings.spans) if self._settings.spans else None
        self._waiting: queue.Queue[_Entry | None] = queue.Queue(most_waiting)
        self._swept = -math.inf
        self.written = self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def keeps(self, id: str) -> bool:
        """Tell whether the texts of a request are recorded: a share of all, chosen by its id."""
        place = int.from_bytes(hashlib.sha256(id.encode()).digest()[:4], "big") / 2**32
        return self._settings.content and place < self._settings.content_share

    def trace(self, trace: Trace, *, check: Check | None = None, said: tuple[str, ...] = (), parent: str = "") -> None:
        """Record a request, away from it; its texts are kept or dropped there.

        Args:
            trace: of the request.
            check: that everything said must pass.
            said: what was written, or decided question by question; empty: nothing that could be checked.
            parent: of its span.
        """
        values = {name: getattr(trace, name) for name in trace.__slots__}  # asdict copies each value
        self._put(_Entry(table=TRACES, values=values, check=check, said=said, parent=parent))

    def feedback(self, values: dict[str, Any]) -> None:
        """Record what somebody thought of an answer."""
        self._put(_Entry(table=FEEDBACK, values=values | {"time": time.time()}))

    def _put(self, entry: _Entry) -> None:
        try:
            self._waiting.put_nowait(entry)
        except queue.Full:
            self.dropped += 1

    def _run(self) -> None:
        ended = False
        while not ended:
            try:
                batch = [self._waiting.get(timeout=_SWEEP_SECONDS)]
            except queue.Empty:
                batch = []
            time.sleep(0 if batch in ([], [None]) else _PAUSE_SECONDS)
            while batch and len(batch) < _AT_ONCE and not self._waiting.empty():
                batch.append(self._waiting.get())
            ended = None in batch
            self._write([self._finished(entry) for entry in batch if entry is not None])
            if time.monotonic() - self._swept > _SWEEP_SECONDS:
                self._swept = time.monotonic()
                self._forget(time.time())
        if self._spans is not None:
            self._spans.close()

    def _finished(self, entry: _Entry) -> tuple[sql.Table, dict[str, Any]]:
        """Return a row as it is written: checked, and without what must not be kept."""
        values = dict(entry.values)
        if entry.table is FEEDBACK:
            return FEEDBACK, values | self._redacted(values, "correction", "comment")
        if entry.check is not None and entry.said:
            values["passed"] = int(all(entry.check.passes(each) for each in entry.said))
        kept = self.keeps(values["beside"] or values["id"])
        values |= self._redacted(values, "prompt", "answer") if kept else {"prompt": None, "answer": None}
        if self._spans is not None:
            self._spans.send(values, entry.parent)
        return TRACES, values

    def _redacted(self, values: Mapping[str, Any], *names: str) -> dict[str, str]:
        return {name: self._redactor(values[name]) for name in names if values.get(name)}

    def _write(self, entries: list[tuple[sql.Table, dict[str, Any]]]) -> None:
        entries = [entry for entry in entries if entry[0] is FEEDBACK or self._settings.traces]
        if not entries:
            return
        try:
            with self._database.begin() as connection:
                for table in (TRACES, FEEDBACK):
                    rows = [values for owner, values in entries if owner is table]
                    if rows:
                        connection.execute(table.insert(), rows)
            self.written += len(entries)
        except SQLAlchemyError as error:
            LOG.error("%d traces could not be written: %s", len(entries), told(error))
            self.dropped += len(entries)

    def _forget(self, now: float) -> None:
        """Delete what is older than it may become; a rollout that is running keeps the numbers that it decides on."""
        running = sql.select(ROLLOUTS.c.id).where(ROLLOUTS.c.state == "running")
        days, content_days = self._settings.days, self._settings.content_days
        changes: list[Any] = []
        for table, names in ((TRACES, ("prompt", "answer")), (FEEDBACK, ("correction", "comment"))):
            if content_days is not None:
                held = sql.or_(*(table.c[name].is_not(None) for name in names))
                old = table.update().where(table.c.time < now - content_days * _DAY, held)
                changes.append(old.values(dict.fromkeys(names)))
            if days is not None:
                counted = sql.select(TRACES.c.id).where(TRACES.c.rollout.in_(running))
                named = TRACES.c.id if table is TRACES else FEEDBACK.c.trace
                changes.append(table.delete().where(table.c.time < now - days * _DAY, named.not_in(counted)))
        try:
            with self._database.begin() as connection:
                for change in changes:
                    connection.execute(change)
        except SQLAlchemyError as error:
            LOG.error("old traces could not be deleted: %s", told(error))

    def close(self) -> None:
        """Write what waits, and end."""
        self._waiting.put(None)
        self._thread.join(timeout=10)
