"""What a sweep searches, and how far; imports no torch."""

from typing import Any, Literal

from pydantic import Field, field_validator

from metier.core import digest
from metier.core.errors import SettingsError
from metier.core.settings import Settings
from metier.train.sweep.space import read

SWEPT = "result"
"""Where in a sweep's folder its published result stands: sweep.json, report.html, report.md."""


class SweepSettings(Settings):
    """Successive halving: many trials begin, the better share of them goes on, one reaches the end of its run."""

    over: dict[str, str | list[Any]] = Field({})
    """Settings of `model` and `train` by their full name, each with the values to try: a list (`model.rank: [8, 32]`)
    or a range (`train.learning_rate: 1e-4..1e-2`; between ends a factor of ten apart every factor is as likely, else
    every difference). Nothing: learning rates up to ten times smaller and larger than what would be chosen."""

    trials: int = Field(9, ge=2)
    """Configurations that begin; the first is the project as it is. Fewer where that is every combination there is."""

    rungs: int = Field(3, ge=1, le=6)
    """How often trials are compared, the last time at the end of the run. 1: every trial is trained to its end."""

    reduction: int = Field(3, ge=2)
    """One in so many trials goes on from each rung, and then takes this many times the steps."""

    sampler: Literal["tpe", "random", "sobol"] = "tpe"
    """What proposes the next trial: `tpe` learns from those before it, `sobol` covers the space evenly."""

    @field_validator("over")
    @classmethod
    def _known(cls, over: dict[str, str | list[Any]]) -> dict[str, str | list[Any]]:
        try:
            read(over)
        except SettingsError as error:
            raise ValueError(str(error)) from error
        return over


def sweep_name(run: str, settings: SweepSettings) -> str:
    """Name a sweep by the run that the project as it is would be, and by what is searched."""
    return f"{run}-{digest.of_value(settings.model_dump(mode='json'))[:8]}"
