"""A way of doing the task, as it was measured; or why it was not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metier.score.stats import Estimate, Measure, Paired, Sampling, compare, share

_RESAMPLES = 2000

Family = Literal["plain", "prompt", "tuned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMeasured:
    """A way that was not measured, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a way answered to the n questions. `effort` orders ways from the simplest, 0, to training, 9.

    `tokens_in`, `tokens_out` and `seconds` are means of one request; `detail` is what a reader should know of it.
    `text` is the instruction that a way adds as system turn; `rows` are the training rows of a point of the learning
    curve. `shown` are the examples (question, answer) that stand in every prompt alike, in their order; `retrieved`:
    other examples or passages stand in every prompt. `opponent`: what `metier compare` calls this way.
    """

    name: str
    family: Family
    effort: int
    outputs: tuple[str, ...]
    base: str | None = None
    seconds: float = 0.0
    tokens_in: float = 0.0
    tokens_out: float = 0.0
    detail: str = ""
    text: str | None = None
    rows: int | None = None
    shown: tuple[tuple[str, str], ...] = ()
    retrieved: bool = False
    opponent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Way:
    """A tried way with its scores, float64 [n] in [0, 1], their mean with its interval, and the share in form.

    `in_form` is the share of answers in the form of the task.
    """

    tried: Tried
    scores: np.ndarray
    level: Estimate
    in_form: float

    @property
    def name(self) -> str:
        """Return what the way is called."""
        return self.tried.name

    @property
    def mean(self) -> float:
        """Return the score."""
        return float(self.scores.mean())


def judged(tried: Tried, scores: np.ndarray, in_form: float, *, groups: Sequence[str | None], confidence: float) -> Way:
    """Put scores, float64 [n], to what a way answered."""
    found = paired(share("score", scores, scores), groups=groups, confidence=confidence)
    return Way(tried=tried, scores=scores, level=found.first, in_form=in_form)


def paired(measure: Measure, *, groups: Sequence[str | None], confidence: float) -> Paired:
    """Compare two ways row by row; rows of one group are no independent evidence."""
    (found,) = compare([measure], groups=groups, sampling=Sampling(samples=_RESAMPLES, confidence=confidence))
    return found
