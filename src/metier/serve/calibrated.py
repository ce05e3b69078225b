"""What is known of how sure a model should be: kept beside the models and in versions, read for decisions; no torch."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metier.core import artefact
from metier.core.errors import MetierError
from metier.score.temperature import Fit, shares

KIND = "calibration"
FILE = "calibration.json"
"""What was fitted, also as it stands in a version."""
_FRESH_SECONDS = 2.0
_TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """`temperature`: what the model's opinions are divided by. `labels`: the answers that it was fitted for."""

    temperature: float
    labels: frozenset[str]

    def covers(self, options: Sequence[str]) -> bool:
        """Tell whether it was fitted for all of these answers."""
        return self.labels.issuperset(options)

    def of(self, probabilities: np.ndarray) -> np.ndarray:
        """Return what probabilities [K] should have been."""
        return shares(np.log(np.maximum(probabilities, _TINY)), self.temperature)


def place(store: Path, digest: str) -> Path:
    """Return where the calibration of a model stands, by the digest of the model."""
    return store / "calibrations" / digest[:32]


def write(store: Path, digest: str, *, fit: Fit, labels: Sequence[str], facts: dict[str, Any]) -> Path:
    """Keep what was fitted; one that was there before is replaced."""
    content = {"model": digest, "labels": list(labels), **asdict(fit), **facts}
    with artefact.publish(place(store, digest), kind=KIND, facts={"model": digest}) as folder:
        (folder / FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")
    return place(store, digest)


def kept(store: Path, digest: str) -> dict[str, Any] | None:
    """Return what was fitted for a model; None: nothing, or it is damaged."""
    folder = place(store, digest)
    try:
        if artefact.verify(folder, KIND).facts.get("model") != digest:
            return None
        return artefact.read_json(folder / FILE)
    except (MetierError, OSError, ValueError):
        return None


class Calibrations:
    """The calibrations of a project.

    Args:
        store: its `.metier`.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._known: dict[tuple[str, Path | None], tuple[float, Calibration | None]] = {}

    def of(self, digest: str, version: Path | None = None) -> Calibration | None:
        """Return that of a model; None: there is none, or it is damaged. Looked for again every two seconds.

        Args:
            digest: of the model.
            version: the folder that it stands in, which may bring its own; what was fitted here goes before that.
        """
        key, now = (digest, version), time.monotonic()
        seen = self._known.get(key)
        if seen is None or now - seen[0] > _FRESH_SECONDS:
            found = kept(self._store, digest) or (_brought(version, digest) if version is not None else None)
            seen = self._known[key] = (now, _understood(found))
        return seen[1]


def _brought(version: Path, digest: str) -> dict[str, Any] | None:
    """Return what a version brings, whose signature was checked when it was asked for."""
    try:
        found = artefact.read_json(version / FILE)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("model") == digest else None


def _understood(found: dict[str, Any] | None) -> Calibration | None:
    if found is None:
        return None
    try:
        return Calibration(temperature=float(found["temperature"]), labels=frozenset(found["labels"]))
    except (ValueError, KeyError, TypeError):
        return None
