"""Let a model answer prompts within a time limit, and measure what a request costs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from metier.advise.prompts import Posed
from metier.core.progress import Progress, Silent
from metier.engine.sample import complete
from metier.text.render import Renderer

_ROWS_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Listened:
    """What a model said, and the means of one request."""

    outputs: tuple[str, ...]
    tokens_in: float
    tokens_out: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """When the time is over, by `time.monotonic`; `seconds` of advise.seconds, or the `part` of them that this is."""

    end: float
    seconds: float
    part: str = ""

    @property
    def left(self) -> float:
        """Return the seconds that are left, at least 0."""
        return max(0.0, self.end - time.monotonic())

    def half(self) -> "Clock":
        """Return a clock for half of what is left: prompts of a slow base leave time for its trainings."""
        return Clock(end=time.monotonic() + self.left / 2, seconds=self.seconds, part="half of ")

    def over(self, done: str = "") -> str:
        """Say that there is no time left."""
        return f"{self.part}the {self.seconds:g} seconds of advise.seconds were spent{done}"


def started(seconds: float) -> Clock:
    """Start a clock."""
    return Clock(end=time.monotonic() + seconds, seconds=seconds)


def listen(
    model: torch.nn.Module, prompts: Sequence[Posed], renderer: Renderer, *, room: int, clock: Clock, progress: Progress
) -> Listened | str:
    """Let a model answer, a few prompts at a time.

    Returns:
        The answers in the order of the prompts, or why there are not all of them.
    """
    outputs: list[str] = []
    written, start = 0, time.monotonic()
    tokenizer = renderer.tokenizer
    with progress.task("advise: answer", len(prompts)) as bar:
        for first in range(0, len(prompts), _ROWS_AT_ONCE):
            if not clock.left:
                return clock.over(f" after {len(outputs)} of {len(prompts)} answers")
            some = prompts[first : first + _ROWS_AT_ONCE]
            said = complete(
                model, [entry.ids for entry in some], stop_ids=tokenizer.stop_ids, max_new_tokens=room,
                pad_id=tokenizer.pad_id, progress=Silent(),
            )  # fmt: skip
            outputs += [tokenizer.said(list(entry.ids)) for entry in said]
            written += sum(len(entry.ids) for entry in said)
            bar.advance(len(some))
    return Listened(
        outputs=tuple(outputs),
        tokens_in=float(np.mean([len(entry.ids) for entry in prompts])),
        tokens_out=written / len(prompts),
        seconds=(time.monotonic() - start) / len(prompts),
    )
