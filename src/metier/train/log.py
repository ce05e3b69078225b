"""The step log: one JSON line a step. A step replayed after a resume must equal its line, or the run stops."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metier.core import artefact
from metier.core.errors import DivergenceError


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
            self._stream.write(json.dumps(entry | exact, allow_nan=False) + "\n")
            self._stream.flush()

    @property
    def path(self) -> Path:
        """Where it stands."""
        return self._path

    def sync(self) -> None:
        """Make what was written survive a power cut; called before a checkpoint is published."""
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _read(self) -> None:
        if not self._path.exists():
            return
        text = self._path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            artefact.write_file(self._path, whole)
        for line in whole.splitlines():
            entry = json.loads(line)
            kind = _kind(entry)
            value = entry["found" if kind == "guard" else f"{kind}_hex"]
            self._known[(entry["step"], kind)] = _value(kind, value, entry)


def _value(kind: str, value: str, entry: Mapping[str, Any]) -> str:
    """Return all of an entry that a replay must repeat; JSON gives the same float back."""
    return f"{value}, answers {entry['answers']}" if "answers" in entry else value


def _kind(entry: Mapping[str, Any]) -> str:
    """Return what an entry is about: a step taken, one that the guard refused, or a check."""
    return next(kind for kind in ("validation_loss", "validation_reward", "guard", "loss") if kind in entry)
