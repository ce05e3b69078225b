"""Which stages of a run are done, from what they were made, and whether what they left still stands there whole."""

import json
from pathlib import Path

from metier.core import artefact
from metier.core.errors import DataError

_FILE = "stages.json"


def read(run: Path) -> dict[str, dict[str, str]]:
    """Return for each stage that is done the key it was made under and the digest of what it left."""
    path = run / _FILE
    return artefact.read_json(path) if path.is_file() else {}


def is_done(run: Path, name: str, key: str, target: Path) -> bool:
    """Tell whether a stage's result stands there whole, made from the same things."""
    if not artefact.exists(target):
        return False
    return read(run).get(name) == {"key": key, "made": artefact.read(target).digest}


def is_intact(target: Path) -> bool:
    """Tell whether every byte of an artefact is as it was written."""
    try:
        artefact.verify(target)
    except DataError:
        return False
    return True


def remember(run: Path, name: str, key: str, target: Path) -> None:
    """Write down that a stage is done."""
    entry = {name: {"key": key, "made": artefact.read(target).digest}}
    artefact.write_file(run / _FILE, json.dumps(read(run) | entry, indent=1) + "\n")
