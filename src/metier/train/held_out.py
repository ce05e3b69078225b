"""Which validation rows a check measures: few enough that the checks stay a small part of the run."""

from typing import Any

from metier.core.types import Reasoned
from metier.text.rendered import Rendered
from metier.train.batches import Ordered
from metier.train.calendar import Calendar
from metier.train.settings import TrainSettings

MOST = 256
"""Rows at a check where the run is long enough: their loss tells its checks apart."""
_FEWEST = 64
_SHARE = 0.1
_STEP_IN_FORWARDS = 3
"""What training on a row costs, in readings of a row: forward, and twice that backward."""


def loss_rows(settings: TrainSettings, held_out: int, order: Ordered) -> Reasoned:
    """Choose how many validation rows a check measures the loss on.

    Args:
        settings: of the run.
        held_out: validation rows there are.
        order: the steps of the run.
    """
    name, asked = "train.check.loss_rows", settings.check.loss_rows
    if asked is not None:
        return Reasoned(name=name, value=min(asked, held_out), reason="as set")
    trained = order.steps * len(order.step(0))
    allowed = int(_SHARE * _STEP_IN_FORWARDS * trained / max(1, Calendar(order, settings).checks))
    count = min(MOST, max(_FEWEST, allowed))
    if held_out <= count:
        return Reasoned(name=name, value=held_out, reason="all validation rows")
    why = "their loss tells checks apart" if count == MOST else "checks are to cost no more than a tenth of the run"
    if count == _FEWEST:
        why = "fewer would not tell checks apart"
    return Reasoned(name=name, value=count, reason=f"of {held_out:,} validation rows: {why}")


def sample(rendered: Rendered, together: int, count: int) -> list[Any]:
    """Return the sequences of so many rows, evenly spread; `together` sequences make a row."""
    rows = len(rendered) // together
    chosen = [place * rows // count for place in range(count)]
    return [rendered.sequence(row * together + place) for row in chosen for place in range(together)]
