"""Which way to take: the simplest that nothing measured beats, or that these rows cannot tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from metier.advise.curve import Curve
from metier.advise.ways import Way, paired
from metier.score.stats import Paired, share
from metier.score.verdict import Decision, Word, decide

READABLE = 0.5
"""Share of answers in the form of the task below which scores say nothing of how well a model knows it."""

Answer = Literal["tune", "do not tune", "cannot tell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What counts as a difference. `confidence` holds for all intervals together."""

    margin: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """A way compared with another: `paired.difference` is the second's score minus the first's."""

    first: str
    second: str
    paired: Paired
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The answer, and `why` it is no clearer ("" where it is clear).

    `best` has the highest score; `chosen` is what to do; `rivals` are simpler ways that these rows cannot tell from the
    best. `gain` is `chosen` against how it is done now; None: that is what is chosen, or it was not measured.
    """

    answer: Answer
    why: str
    chosen: Way
    best: Way
    rivals: tuple[Against, ...]
    gain: Against | None
    compared: tuple[Against, ...]
    confidence: float


def choose(
    ways: Sequence[Way], *, now: str | None, rules: Rules, groups: Sequence[str | None], curve: Curve | None
) -> Choice:
    """Choose among measured ways.

    Every simpler way is compared with the best one; the simplest that is as good within the margin is chosen. Where the
    best is a training and untrained ways cannot be told from it, the answer is that, and the best of them is what to
    begin with. Intervals are Bonferroni's: their confidence is raised for the number of comparisons.

    Args:
        ways: at least one.
        now: name of the way it is done now.
        rules: margin and confidence.
        groups: group of each row.
        curve: the learning curve of the quick trainings; without one, training cannot be ruled out.
    """
    best = max(ways, key=lambda way: (round(way.mean, 9), -way.tried.effort))
    simpler = sorted((way for way in ways if way.tried.effort < best.tried.effort), key=_simplicity)
    confidence = 1 - (1 - rules.confidence) / max(1, len(ways) - 1)

    def against(first: Way, second: Way) -> Against:
        pair = paired(share("score", first.scores, second.scores), groups=groups, confidence=confidence)
        found = decide(pair, higher_is_better=True, margin=rules.margin, confidence=confidence)
        return Against(first=first.name, second=second.name, paired=pair, decision=found)

    pairs = [(way, against(way, best)) for way in simpler]
    chosen = next((way for way, entry in pairs if entry.decision.word in ("equivalent", "worse")), best)
    close = [(way, entry) for way, entry in pairs if entry.decision.word == "cannot tell"]
    close = [(way, entry) for way, entry in close if way.tried.effort < chosen.tried.effort]
    tuned = [way for way in ways if _trained(way)]
    if _trained(chosen):
        untrained = [way for way, _ in close if not _trained(way)]
        chosen = max(untrained, key=lambda way: way.mean, default=chosen)
        answer, why = ("cannot tell", f"{chosen.name} is within noise of {best.name}") if untrained else ("tune", "")
    else:
        rival = max(tuned, key=lambda way: way.mean, default=None)
        word = None if rival is None else against(rival, chosen).decision.word
        answer, why = _without(chosen, rival, word, curve, rules)
    gain = next((against(way, chosen) for way in ways if way.name == now and way.name != chosen.name), None)
    return Choice(
        answer=answer, why=why, chosen=chosen, best=best, rivals=tuple(entry for _, entry in close), gain=gain,
        compared=tuple(entry for _, entry in pairs), confidence=confidence,
    )  # fmt: skip


def _trained(way: Way) -> bool:
    return way.tried.family == "tuned"


def _simplicity(way: Way) -> tuple[int, float]:
    return way.tried.effort, -way.mean


def _without(
    chosen: Way, tuned: Way | None, word: Word | None, curve: Curve | None, rules: Rules
) -> tuple[Answer, str]:
    """Say whether training can be ruled out, when something else is best or as good; `word` is chosen against tuned."""
    if chosen.mean >= 1 - rules.margin:
        return "do not tune", ""
    doubts = {
        "no training was measured": tuned is None,
        "the quick training was too short to answer in the form of the task": tuned and tuned.in_form < READABLE,
        "the quick training is within noise of it": word not in ("better", "equivalent"),
        "there are too few trainings for a curve": curve is None,
    }
    doubt = next((text for text, there in doubts.items() if there), None)
    if doubt is not None or curve is None:
        return "cannot tell", doubt or ""
    ahead = curve.at(2 * max(curve.sizes))
    if ahead.high > chosen.mean + rules.margin:
        return "cannot tell", f"with twice the rows a training may reach {100 * ahead.high:.0f} %"
    return "do not tune", ""
