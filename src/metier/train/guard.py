"""When a step is refused, and what is done then: not finite, or a loss far above those before it.

The decision is a function of the losses in `Place`, which every checkpoint holds: a resumed run refuses the same steps.
"""

import dataclasses
import statistics

from metier.core.errors import LossSpikeError, NonFiniteError, RunError
from metier.train.checkpoint import Place
from metier.train.settings import GuardSettings

_NORMAL = 1.4826
"""Standard deviations of a normal distribution in one median distance from its median."""

_AFTER = "after a median of"
_SMALLEST_DEVIATION = 0.1
"""Nats; losses that hardly move would make a leap of every hard row."""


def spike(loss: float, place: Place, settings: GuardSettings) -> str:
    """Return what is wrong with a finite loss, or "" when nothing is."""
    recent = place.recent_losses
    if settings.threshold is None or len(recent) < max(1, settings.window // 5):
        return ""
    middle = statistics.median(recent)
    deviation = max(_SMALLEST_DEVIATION, _NORMAL * statistics.median(abs(value - middle) for value in recent))
    if loss <= middle + settings.threshold * deviation:
        return ""
    return f"a loss of {loss:.4g} {_AFTER} {middle:.4g}, robust deviation {deviation:.2g}"


def remember(loss: float, place: Place, settings: GuardSettings) -> Place:
    """Return the place after a step that was taken."""
    losses = (*place.recent_losses, loss)[-settings.window :]
    return dataclasses.replace(place, recent_losses=losses, refused_in_a_row=0)


def refuse(found: str, place: Place, settings: GuardSettings) -> Place:
    """Return the place after a step that was not taken; the rate is lowered where that is wanted.

    Raises:
        NonFiniteError: the settings say stop, or it is one event too many; something was not finite.
        LossSpikeError: the same for a loss that leapt.
    """
    in_a_row = place.refused_in_a_row + 1
    if settings.on_spike == "stop" or in_a_row > settings.most_in_a_row:
        raise _error(found, in_a_row)
    factor = settings.lower_by if settings.on_spike == "lower_rate" else 1.0
    return dataclasses.replace(
        place, refused_in_a_row=in_a_row, refused=place.refused + 1, rate_share=place.rate_share * factor
    )


def describe(settings: GuardSettings, place: Place) -> str:
    """Say what was done, after `refuse`."""
    if settings.on_spike == "lower_rate":
        return f"step left out, the learning rate is {place.rate_share:.3g} of its schedule from here on"
    if settings.on_spike == "roll_back":
        return f"weights and optimiser put back to step {place.scheduled_step}"
    return "step left out"


def _error(found: str, in_a_row: int) -> RunError:
    times = f", {in_a_row} steps in a row" if in_a_row > 1 else ""
    do = "lower train.learning_rate, or look at these rows; the last checkpoint is intact"
    if _AFTER in found:
        return LossSpikeError(f"{found}{times}", "a loss like those before it", do)
    return NonFiniteError(f"{found}{times}", "a finite number", do)
