"""What a check during training found, and what follows: the best step so far, and when to stop."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metier.score.metrics import metric_of
from metier.train.checkpoint import Place
from metier.train.settings import TrainSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a check found: the validation `loss`, and the metrics of `answered` rows; None where none was.

    Where the model learns from rewards it is the mean `reward` of held-out prompts, with what else is told of them.
    """

    loss: float | None = None
    reward: float | None = None
    beside: Mapping[str, float] = field(default_factory=dict)
    answers: Mapping[str, float] | None = None
    answered: int = 0

    @property
    def value(self) -> float:
        """The loss, or the reward."""
        value = self.loss if self.reward is None else self.reward
        assert value is not None
        return value

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for the log."""
        name = "validation_loss" if self.reward is None else "validation_reward"
        told: dict[str, Any] = {name: self.value, **self.beside}
        return told if self.answers is None else told | {"answered": self.answered, "answers": dict(self.answers)}


def judge(place: Place, found: Found, settings: TrainSettings, *, answered: bool) -> Place:
    """Return the place after a check: the best one remembered, stopped when `patience` is at its end.

    Args:
        place: before the check.
        found: what it found.
        settings: patience, and what is best.
        answered: rows are answered in this run at all; otherwise the loss decides whatever the settings say.
    """
    name = settings.check.best if answered else "loss"
    if name == "loss":
        value, higher = (found.loss, False) if found.reward is None else (found.reward, True)
    else:
        value, higher = (found.answers or {}).get(name), metric_of(name).higher_is_better
    if value is None:
        return place  # no row was answered at this check, or the metric had no value
    best = place.best_value
    if best is None or (value > best if higher else value < best):
        return dataclasses.replace(
            place, best_value=value, best_loss=found.loss, best_step=place.step, worse_checks=0
        )  # fmt: skip
    worse = place.worse_checks + 1
    stopped = settings.patience is not None and worse >= settings.patience
    return dataclasses.replace(place, worse_checks=worse, stopped=stopped)
