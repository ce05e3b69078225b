"""From a difference and its interval to one of five words, and how many more rows would settle an open question."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import ndtri

from metier.score import significance
from metier.score.stats import Paired

Word = Literal["better", "worse", "equivalent", "cannot tell", "identical"]

_POWER = 0.8
_FEW_ROWS = 100
_FEW_CHANGES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The word, why it is not a stronger one (may be empty), and about how many more rows would be needed to tell.

    `more_rows` is None when the question is settled, or when no finite number can be named. `tested` is False where
    the two were not asked alike, so that no p-value means anything.
    """

    word: Word
    reason: str = ""
    more_rows: int | None = None
    tested: bool = True


def decide(paired: Paired, *, higher_is_better: bool, margin: float, confidence: float) -> Decision:
    """Say whether the second model is better, worse or equivalent, or that these rows cannot tell.

    Equivalent: the whole interval lies within ± margin. Better or worse: the interval excludes 0 and, for shares of
    single rows, McNemar's exact test agrees; with fewer than 100 rows at least 8 of them must have changed sides.

    Args:
        paired: the metric of both models.
        higher_is_better: False for a loss.
        margin: the largest difference that nobody would mind, in the metric's unit; 0 makes "equivalent" impossible.
        confidence: that of the intervals.
    """
    low, high = paired.difference.low, paired.difference.high
    if not (math.isfinite(low) and math.isfinite(high)):
        return Decision(word="cannot tell", reason=f"{paired.units} independent rows are too few for an interval")
    if -margin <= low and high <= margin:
        return Decision(word="equivalent")
    open_question = Decision(word="cannot tell", more_rows=rows_needed(paired, margin=margin, confidence=confidence))
    if low <= 0 <= high:
        return open_question
    changed = None if paired.gained is None or paired.lost is None else paired.gained + paired.lost
    if changed is not None and paired.rows < _FEW_ROWS and changed < _FEW_CHANGES:
        reason = f"only {changed} rows changed between right and wrong"
        return Decision(word="cannot tell", reason=reason, more_rows=open_question.more_rows)
    if paired.changes is not None and paired.p is not None and paired.p > 1 - confidence:
        reason = f"an exact test of the changed rows gives p = {paired.p:.3f}"
        return Decision(word="cannot tell", reason=reason, more_rows=open_question.more_rows)
    few = f"fewer than {_FEW_ROWS} rows: take it as a strong hint" if paired.rows < _FEW_ROWS else ""
    return Decision(word="better" if (low > 0) == higher_is_better else "worse", reason=few)


def rows_needed(paired: Paired, *, margin: float, confidence: float) -> int | None:
    """Return about how many more rows would tell with 80 % power, if the rows to come are like these.

    The nearer of two ends counts: that the difference seen is real, or that there is none beyond the margin. The
    interval's width shrinks with the square root of the rows; rounded up to two digits. Where no unit tells the models
    apart, as many are needed as would show a difference of the margin if there were one. None when neither end comes
    within reach (no difference seen and no margin).
    """
    quantile = float(ndtri(0.5 + confidence / 2))
    error = (paired.difference.high - paired.difference.low) / (2 * quantile)
    if not math.isfinite(error):
        return None
    if paired.alike:
        if not 0 < margin < 1:
            return None
        units = math.log((1 - confidence) / 2) / math.log1p(-margin)
        return _rounded_up(paired.rows * (units / paired.units - 1), paired.rows)
    ways = []
    if paired.difference.value != 0:
        ways.append((quantile + float(ndtri(_POWER))) / abs(paired.difference.value))
    if margin > 0:
        ways.append((quantile + float(ndtri((1 + _POWER) / 2))) / margin)
    return _rounded_up(paired.rows * (min(ways) * error) ** 2 - paired.rows, paired.rows) if ways else None


def _rounded_up(more: float, rows: int) -> int:
    """Round up to two digits; an open question needs at least a tenth more rows than there are."""
    more = max(more, rows / 10, 1.0)
    step = 10 ** max(0, math.floor(math.log10(more)) - 1)
    return math.ceil(more / step) * step


def kept(paired: Paired, *, margin: float, higher_is_better: bool = False) -> Literal["kept", "lost", "cannot tell"]:
    """Say whether the second model stayed within `margin` of the first one's loss or score: non-inferiority.

    Kept: the whole interval lies on the good side of the margin. Lost: the whole interval lies beyond it.
    """
    ends = (paired.difference.low, paired.difference.high)
    if not all(math.isfinite(end) for end in ends):
        return "cannot tell"
    best, worst = (ends[1], ends[0]) if higher_is_better else (-ends[0], -ends[1])
    if worst >= -margin:
        return "kept"
    return "lost" if best < -margin else "cannot tell"


def among_many(
    decisions: Sequence[Decision], found: Sequence[Paired], *, confidence: float
) -> list[tuple[Decision, float | None]]:
    """Take back each "better" and "worse" that so many looks would show by chance.

    Benjamini and Hochberg's adjusted p-values bound the share of false ones among all that remain.

    Args:
        decisions: one a slice, each as if it were the only one.
        found: the estimates behind them.
        confidence: that of the intervals.

    Returns:
        Each decision with its adjusted p-value, None where it has none.
    """
    known = [place for place, paired in enumerate(found) if paired.p is not None]
    adjusted: dict[int, float] = dict(
        zip(known, significance.benjamini_hochberg([found[place].p or 0.0 for place in known]), strict=True)
    )
    results: list[tuple[Decision, float | None]] = []
    for place, decision in enumerate(decisions):
        p, alone = adjusted.get(place), found[place].p
        if decision.word in ("better", "worse") and p is not None and alone is not None and p > 1 - confidence:
            reason = f"p = {alone:.3f} alone, but {p:.3f} among {len(known)} slices"
            results.append((dataclasses.replace(decision, word="cannot tell", reason=reason), p))
        else:
            results.append((decision, p))
    return results


def refused(different: Sequence[str]) -> Decision:
    """Return the only honest decision where the two models were not asked alike."""
    reason = f"asked under conditions that differ: {', '.join(different)}"
    return Decision(word="cannot tell", reason=reason, tested=False)
