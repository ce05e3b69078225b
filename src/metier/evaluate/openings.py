"""Every look at the test split is counted: a test that is looked at often stops being one; imports no torch."""

import json
from datetime import UTC, datetime
from pathlib import Path

from metier.core import artefact

FILE = "test-openings.jsonl"


def note(store: Path, *, snapshot: str, run: str) -> int:
    """Write down that a run is evaluated on a snapshot's test split, before it is; return how often that has happened.

    Args:
        store: the project's `.metier` folder.
        snapshot: the snapshot's digest.
        run: the run's id.
    """
    entry = {"snapshot": snapshot, "run": run, "time": datetime.now(UTC).isoformat(timespec="seconds")}
    before = _read(store)
    artefact.write_file(store / FILE, "".join(json.dumps(line) + "\n" for line in [*before, entry]))
    return count(store, snapshot=snapshot)


def count(store: Path, *, snapshot: str) -> int:
    """Return how often a snapshot's test split was opened."""
    return sum(entry["snapshot"] == snapshot for entry in _read(store))


def _read(store: Path) -> list[dict[str, str]]:
    path = store / FILE
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
