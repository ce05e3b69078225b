"""Who changed what and when: a log to which lines are only ever added, each sealed together with all before it.

A line's digest is SHA-256 over the line and the digest before it, so that a line that was changed, taken out or put
in between is found. How far the log had come stands in a file beside the database, so that a cut end is found too.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

from metier.core import artefact
from metier.core.errors import LockedError
from metier.serve.logs import plain
from metier.serve.tables import AUDIT

HEAD = "audit-head.json"
_TRIES = 50
_START = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a check of the log found: how many lines, the digest of the last, and what is wrong (nothing: all well)."""

    lines: int
    digest: str
    faults: tuple[str, ...]


class Audit:
    """The audit log of a project.

    Args:
        database: where it is kept.
        store: the folder in which it is noted how far the log has come.
    """

    def __init__(self, database: sql.Engine, store: Path) -> None:
        self._database = database
        self._head = store / HEAD

    def note(self, who: str, action: str, **facts: Any) -> None:
        """Add a line; when this returns, it is kept.

        Args:
            who: the id of the key, or what acts by itself.
            action: what was done, such as "POST /v1/files".
            facts: what else is worth knowing; plain values.

        Raises:
            LockedError: others write without end.
        """
        line = {
            "milliseconds": time.time_ns() // 1_000_000, "who": who[:64], "action": plain(action)[:1000],
            "facts": json.dumps(facts, ensure_ascii=True, sort_keys=True),
        }  # fmt: skip
        for _ in range(_TRIES):
            try:
                self._add(line)
            except IntegrityError:  # another process has just taken this number
                continue
            return
        raise LockedError("audit log: busy", "a moment in which nobody else writes", "try again")

    def _add(self, line: dict[str, Any]) -> None:
        with self._database.begin() as connection:
            last = connection.execute(sql.select(AUDIT).order_by(AUDIT.c.number.desc()).limit(1)).first()
            line = line | {
                "number": 1 if last is None else last.number + 1,
                "previous": _START if last is None else last.digest,
            }
            line["digest"] = _digest(line)
            connection.execute(AUDIT.insert().values(**line))
        artefact.write_file(self._head, json.dumps({"number": line["number"], "digest": line["digest"]}) + "\n")

    def lines(self, most: int) -> list[dict[str, Any]]:
        """Return the last lines, newest first."""
        with self._database.connect() as connection:
            rows = connection.execute(sql.select(AUDIT).order_by(AUDIT.c.number.desc()).limit(most)).all()
        return [_plain(row) | {"facts": json.loads(row.facts)} for row in rows]

    def verify(self) -> Verdict:
        """Check every line against its digest and the line before it, and the end against the file beside it."""
        faults, count, last, sealed = [], 0, _START, {}
        head = self._read_head()
        for line in self._all():
            count += 1
            if line["number"] != count:
                faults.append(f"line {count}: missing or out of order (found {line['number']})")
                count = line["number"]
            if line["previous"] != last:
                faults.append(f"line {line['number']}: does not follow from the line before it")
            if line["digest"] != _digest(line):
                faults.append(f"line {line['number']}: was changed")
            last = line["digest"]
            if head is not None and line["number"] == head["number"]:
                sealed = line
        if head is not None and sealed.get("digest") != head["digest"]:
            faults.append(f"line {head['number']}: was there (see {HEAD}) and is not there any more, or is another")
        if head is None and count:
            faults.append(f"{HEAD}: not there, or not readable; lines at the end may have been cut off")
        return Verdict(lines=count, digest=last, faults=tuple(faults))

    def _all(self) -> Iterator[dict[str, Any]]:
        with self._database.connect() as connection:
            for row in connection.execution_options(yield_per=1000).execute(sql.select(AUDIT).order_by("number")):
                yield _plain(row)

    def _read_head(self) -> dict[str, Any] | None:
        try:
            head = artefact.read_json(self._head)
            return {"number": int(head["number"]), "digest": str(head["digest"])}
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _plain(row: Any) -> dict[str, Any]:
    return {
        name: row._mapping[name] for name in ("number", "milliseconds", "who", "action", "facts", "previous", "digest")
    }


def _digest(line: dict[str, Any]) -> str:
    """Return the digest of everything in a line but its own."""
    sealed = {name: value for name, value in line.items() if name != "digest"}
    return hashlib.sha256(json.dumps(sealed, sort_keys=True).encode()).hexdigest()
