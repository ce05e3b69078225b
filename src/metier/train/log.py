"""The step log: one JSON line a step. A step replayed after a resume must equal its line, or the run stops."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metier.core import artefact, room
from metier.core.errors import DataError, DivergenceError


def read(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a step log whose last line is whole.

    Raises:
        DataError: a line is damaged; names it.
    """
    entries = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            entry = json.loads(line)
            _kind(entry), entry["step"]
        except (ValueError, TypeError, LookupError, StopIteration, RecursionError) as error:
            raise DataError(
                f"{path}:{number}: damaged", "an entry of the step log that metier wrote",
                "put the file back from a copy, or take that line out of it: the curves then lack a point",
            ) from error  # fmt: skip
        entries.append(entry)
    return entries


class StepLogFile:
    """`metrics.jsonl` of a run, keyed by (step, kind of entry).

    Args:
        path: the file; a last line cut off by a kill is taken away.
        exact: whether replayed steps are bit-identical here (CPU, same threads, same precision) and so compared.
    """

    def __init__(self, path: Path, *, exact: bool) -> None:
        self._exact = exact
        self._known: dict[tuple[int, str], str] = {}
        self._path = path
        self._read()
        self._stream = path.open("a", encoding="utf-8")

    def write(self, entry: dict[str, Any]) -> None:
        """Append an entry, or check it against the one that is there.

        Raises:
            DivergenceError: the replayed loss differs from the logged one.
        """
        kind = _kind(entry)
        value = _value(kind, entry["found"] if kind == "guard" else float(entry[kind]).hex(), entry)
        before = self._known.get((entry["step"], kind))
        if before is not None and self._exact and before != value:
            raise DivergenceError(
                f"step {entry['step']}: replayed {kind} {value}, logged {before}",
                "the same number (same machine class, threads and versions)",
                f"delete {self._path.parent} to train afresh",
            )
        if before is None:
            self._known[(entry["step"], kind)] = value
            exact = {} if kind == "guard" else {f"{kind}_hex": float(entry[kind]).hex()}
            with room.told(self._path):
                self._stream.write(json.dumps(entry | exact, allow_nan=False) + "\n")
                self._stream.flush()

    @property
    def path(self) -> Path:
        """Where it stands."""
        return self._path

    def sync(self) -> None:
        """Make what was written survive a power cut; called before a checkpoint is published."""
        with room.told(self._path):
            os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file."""
        with room.told(self._path):
            self._stream.close()

    def _read(self) -> None:
        if not self._path.exists():
            return
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            artefact.write_file(self._path, whole)
        for entry in read(self._path):
            kind = _kind(entry)
            value = entry["found" if kind == "guard" else f"{kind}_hex"]
            self._known[(entry["step"], kind)] = _value(kind, value, entry)


def _value(kind: str, value: str, entry: Mapping[str, Any]) -> str:
    """Return all of an entry that a replay must repeat; JSON gives the same float back."""
    return f"{value}, answers {entry['answers']}" if "answers" in entry else value


def _kind(entry: Mapping[str, Any]) -> str:
    """Return what an entry is about: a step taken, one that the guard refused, or a check."""
    return next(kind for kind in ("validation_loss", "validation_reward", "guard", "loss") if kind in entry)
