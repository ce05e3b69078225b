"""The learning rate as a function of the step, never of history."""

import math
from collections.abc import Callable

from metier.core.table import find
from metier.train.settings import ScheduleSettings


def _cosine(done: float, final: float) -> float:
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))


def _linear(done: float, final: float) -> float:
    return 1 - (1 - final) * done


def _constant(done: float, final: float) -> float:
    return 1.0


SCHEDULES: dict[str, Callable[[float, float], float]] = {"cosine": _cosine, "linear": _linear, "constant": _constant}
"""Name -> share of the peak rate, given the share of the run done after the warm-up and the final share."""


def rate(step: int, total: int, peak: float, settings: ScheduleSettings) -> float:
    """Return the learning rate of a step.

    Args:
        step: from 0.
        total: steps in the run.
        peak: the highest rate.
        settings: shape, warm-up and final share.
    """
    warm = math.ceil(settings.warmup * total)
    if step < warm:
        return peak * (step + 1) / warm
    done = (step - warm) / max(1, total - warm - 1)
    return peak * find(SCHEDULES, settings.shape or "cosine", "schedule")(min(1.0, done), settings.final_rate)
