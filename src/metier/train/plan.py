"""What one training run is a function of; imports no torch."""

from dataclasses import dataclass
from typing import Any

from metier.core import digest
from metier.model.settings import ModelSettings
from metier.text.settings import TextSettings
from metier.train.settings import TrainSettings

_CODE = 1
"""Raised when the same settings would train something else than before: old runs are then not taken for new ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """The settings that training reads."""

    text: TextSettings
    model: ModelSettings
    train: TrainSettings
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        sections = {"text": self.text, "model": self.model, "train": self.train}
        return {name: section.model_dump(mode="json") for name, section in sections.items()} | {"seed": self.seed}

    def run_digest(self, snapshot_digest: str, base_digest: str) -> str:
        """Name a run by what it is a function of: settings, data, base and code. 64 hexadecimal digits."""
        return digest.of_value([_CODE, self.as_dict(), snapshot_digest, base_digest])
