"""What is known of how sure a model should be: kept beside the models, read when a decision is asked for; no torch."""

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
_FILE = "calibration.json"
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
    content = {"labels": list(labels), **asdict(fit), **facts}
    with artefact.publish(place(store, digest), kind=KIND, facts={"model": digest}) as folder:
        (folder / _FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")
    return place(store, digest)


class Calibrations:
    """The calibrations of a project.

    Args:
        store: its `.metier`.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._known: dict[str, tuple[float, Calibration | None]] = {}

    def of(self, digest: str) -> Calibration | None:
        """Return that of a model; None: there is none, or it is damaged. Looked for again every two seconds."""
        seen, now = self._known.get(digest), time.monotonic()
        if seen is None or now - seen[0] > _FRESH_SECONDS:
            seen = self._known[digest] = (now, self._read(digest))
        return seen[1]

    def _read(self, digest: str) -> Calibration | None:
        folder = place(self._store, digest)
        try:
            if artefact.verify(folder, KIND).facts.get("model") != digest:
                return None
            found = json.loads((folder / _FILE).read_text(encoding="utf-8"))
            return Calibration(temperature=float(found["temperature"]), labels=frozenset(found["labels"]))
        except (MetierError, OSError, ValueError, KeyError, TypeError):
            return None
