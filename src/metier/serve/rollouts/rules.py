"""When a candidate gets more traffic, all of it, or none: decided by what its answers were worth; imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from metier.score.sequential import difference
from metier.serve.settings import RolloutSettings

STABLE, CANDIDATE, SHADOW = "stable", "candidate", "shadow"
"""Who answered: what served before, what is tried, and what only answers beside."""

QUALITY = ("feedback", "check")
"""What tells how good answers are; a candidate is promoted on these, never on having failed at nothing."""

Count = tuple[int, int]
Counts = Mapping[str, Mapping[str, Count]]
"""Signal -> who answered -> (good, total)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a candidate goes on.

    `steps`: shares of the traffic, one after the other. `least`: judged answers of the candidate before each step.
    `margin`: how much worse it may be, as a share of answers. `confidence`: of everything that is decided, together,
    over the whole rollout.
    """

    steps: tuple[float, ...] = (0.05, 0.25, 0.5)
    least: int = 50
    margin: float = 0.05
    confidence: float = 0.95


def rules_of(settings: RolloutSettings) -> Rules:
    """Return the rules that the settings say."""
    return Rules(steps=settings.steps, least=settings.least, margin=settings.margin, confidence=settings.confidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do now, and why."""

    move: Literal["stay", "step", "promote", "roll back", "stop"]
    reason: str


def decide(rules: Rules, step: int, counts: Counts) -> Decision:
    """Decide how a candidate goes on after everything that was seen so far.

    It is looked at again and again, so the bounds are such that hold at all moments at once, and the doubt is divided
    among the signals. A candidate that is surely worse goes back at once; one is promoted when it is surely not worse
    than the margin allows in every signal of quality that there is, and there is one. A check that no answer of either
    ever passed says nothing of either, and is none.

    Args:
        rules: how it goes on.
        step: which of the steps it is at, from 0.
        counts: of all signals.
    """
    confidence = 1 - (1 - rules.confidence) / len((*QUALITY, "answered"))
    found = {name: _bounds(arms, confidence) for name, arms in counts.items()}
    for name, (low, high) in found.items():
        if high < 0 and low <= -rules.margin:
            return Decision(
                move="roll back", reason=f"{name}: worse by {-high:.1%} to {-low:.1%} ({_told(counts[name])})"
            )
    judged = {name: counts[name] for name in QUALITY if _tells(counts, name)}
    enough = [name for name in judged if _total(counts, name, CANDIDATE) >= rules.least * (step + 1)]
    if not enough:
        seen = max((_total(counts, name, CANDIDATE) for name in judged), default=0)
        useless = _total(counts, "check", CANDIDATE) > 0 and "check" not in judged
        why = "; check: no answer of either passes it, which says nothing" if useless else ""
        return Decision(move="stay", reason=f"{seen} judged answers; {rules.least * (step + 1)} wanted{why}")
    if step + 1 < len(rules.steps):
        worst = min(_middle(counts[name]) for name in judged)
        if worst < -rules.margin:
            return Decision(move="stay", reason=f"{-worst:.1%} worse so far, which may be chance")
        return Decision(move="step", reason=f"{', '.join(f'{name} {_told(counts[name])}' for name in judged)}")
    unsure = [name for name in judged if found[name][0] <= -rules.margin]
    if unsure:
        low = min(found[name][0] for name in unsure)
        return Decision(move="stay", reason=f"may still be {-low:.1%} worse; {rules.margin:.1%} is allowed")
    return Decision(
        move="promote", reason="; ".join(f"{name}: {found[name][0]:+.1%} to {found[name][1]:+.1%}" for name in judged)
    )


def _bounds(arms: Mapping[str, Count], confidence: float) -> tuple[float, float]:
    return difference(arms.get(STABLE, (0, 0)), arms.get(CANDIDATE, (0, 0)), confidence)


def _total(counts: Counts, name: str, arm: str) -> int:
    return counts.get(name, {}).get(arm, (0, 0))[1]


def _tells(counts: Counts, name: str) -> bool:
    """Tell whether a signal tells the two apart at all."""
    seen = counts.get(name, {})
    return _total(counts, name, CANDIDATE) > 0 and (name != "check" or any(good for good, _ in seen.values()))


def _middle(arms: Mapping[str, Count]) -> float:
    """Return how much better the candidate looks, without any bound."""
    (good, total), (before, earlier) = arms.get(CANDIDATE, (0, 0)), arms.get(STABLE, (0, 0))
    return good / total - before / earlier if total and earlier else 0.0


def _told(arms: Mapping[str, Count]) -> str:
    good, total = arms.get(CANDIDATE, (0, 0))
    before, earlier = arms.get(STABLE, (0, 0))
    return f"{good} of {total} against {before} of {earlier}"
