"""Suite by suite: what the base could do, what the tuned model can, and what was forgotten; imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metier.evaluate.settings import EvaluateSettings
from metier.evaluate.summary import judged, sampling
from metier.score import significance, stats
from metier.score.stats import Paired
from metier.score.verdict import Decision, kept


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """One suite's values in [0, 1] for both models, float64 [I] each, with the slice of each item."""

    name: str
    what: str
    base: np.ndarray
    tuned: np.ndarray
    slices: Sequence[str | None] = ()
    left_out: int = 0
    seconds: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)


def ledger(results: Sequence[Result], settings: EvaluateSettings) -> list[dict[str, Any]]:
    """Compare base and tuned model on every suite.

    A suite is "kept" when the whole interval of the difference lies above minus the margin; "lost" when the tuned model
    is worse, by a test that allows for the number of suites (Holm); else "cannot tell", with the items that would.
    """
    margin = settings.suites.margin
    found = [stats.compare(_measures(result), groups=None, sampling=sampling(settings)) for result in results]
    whole = [entry[0] for entry in found]
    adjusted = significance.holm([_p_of_loss(paired) for paired in whole])
    entries = []
    for result, (paired, *parts), p in zip(results, found, adjusted, strict=True):
        word = _word(paired, p, margin=margin, confidence=settings.confidence)
        entries.append(
            {
                "suite": result.name,
                "what": result.what,
                **judged(paired, "accuracy", settings, decision=_identical(result)),
                "kept": word,
                "margin": margin,
                "p_adjusted": p,
                "left_out": result.left_out,
                "seconds": result.seconds,
                "slices": [
                    judged(part, "accuracy", settings) | {"slice": name}
                    for name, part in zip(_names(result), parts, strict=True)
                ],
                **result.facts,
            }
        )
    return entries


def _word(paired: Paired, p: float, *, margin: float, confidence: float) -> str:
    if paired.alike:
        return "kept"
    word = kept(paired, margin=margin, higher_is_better=True)
    if word == "kept":
        return word
    return "lost" if paired.value < 0 and p <= 1 - confidence else "cannot tell"


def _p_of_loss(paired: Paired) -> float:
    """Return the p-value of a difference, 1 where it is no loss."""
    return 1.0 if paired.p is None or paired.value >= 0 else paired.p


def _identical(result: Result) -> Decision | None:
    return Decision(word="identical") if np.array_equal(result.base, result.tuned) else None


def _names(result: Result) -> list[str]:
    names = sorted({name for name in result.slices if name is not None})
    return names if len(names) > 1 else []


def _measures(result: Result) -> list[stats.Measure]:
    """Return the measure of a suite and of each of its slices."""
    measures = [stats.share(result.name, result.base, result.tuned)]
    for name in _names(result):
        inside = np.array([other == name for other in result.slices])
        measures.append(stats.share(name, result.base, result.tuned, inside))
    return measures
