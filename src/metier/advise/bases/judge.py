"""Which base to take: of those that may be used and fit, the best as far as these rows tell, else the smallest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metier.advise.bases.candidates import Candidate
from metier.advise.bases.features import Feature
from metier.advise.bases.licences import Found
from metier.advise.bases.nature import Nature
from metier.advise.bases.zero_shot import Scored
from metier.advise.decide import READABLE
from metier.advise.ways import paired
from metier.score.stats import Measure, Paired, ratio, share
from metier.score.verdict import Word, decide


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a method takes with a base here: bytes at its worst moment, whether they fit, seconds of an epoch.

    `seconds` None: not timed. `remark` is what has to be given up for it to fit.
    """

    method: str
    memory: int
    fits: bool
    seconds: float | None
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Looked:
    """A candidate with all that was found out of it; a text stands where something was not measured, and says why."""

    candidate: Candidate
    nature: Nature | None
    licence: Found
    features: tuple[Feature, ...]
    costs: tuple[Cost, ...] | str
    scored: Scored | str

    @property
    def name(self) -> str:
        """Return what it is called."""
        return self.candidate.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """The base to take (None: none can be named), why, and why not each of the others, by name."""

    chosen: str | None
    reasons: tuple[str, ...]
    others: dict[str, str]


def pick(
    looked: Sequence[Looked], *, commercial: bool, margin: float, confidence: float, groups: Sequence[str | None]
) -> Pick:
    """Choose a base.

    Barred ones go first, then those that were not asked. Of the rest the score decides where these rows tell bases
    apart, then the surprise at right answers, then the size.

    Args:
        looked: everything found out.
        commercial: the licence has to allow that.
        margin: difference in score that nobody would mind.
        confidence: of all intervals together.
        groups: group of each row that was asked.
    """
    others = {entry.name: why for entry in looked if (why := barred(entry, commercial=commercial))}
    free = [entry for entry in looked if entry.name not in others]
    asked = [(entry, entry.scored) for entry in free if isinstance(entry.scored, Scored)]
    for entry in free:
        if isinstance(entry.scored, str):
            others[entry.name] = f"could be better: it was not asked ({entry.scored})"
    if not asked:
        return Pick(chosen=None, reasons=("no base that may be used here was asked",), others=others)
    race = _Race(groups=groups, confidence=1 - (1 - confidence) / max(1, len(asked) - 1), margin=margin)
    chosen, reasons, behind = race.run(asked)
    return Pick(chosen=chosen.name, reasons=(*reasons, *_cautions(chosen)), others=others | behind)


def barred(entry: Looked, *, commercial: bool) -> str:
    """Return why a base cannot be recommended whatever it scores, or ""."""
    if entry.candidate.base is None:
        return entry.candidate.why
    if entry.nature is None or entry.nature.faults:
        return entry.nature.faults[0] if entry.nature is not None else "it was not looked at"
    if commercial and entry.licence.strictest == "no":
        return f"its licence ({entry.licence.name}) forbids commercial use"
    if not isinstance(entry.costs, str) and not any(cost.fits for cost in entry.costs):
        return "no way of training it fits into the memory here"
    return ""


class _Race:
    """Comparisons of bases in pairs, on the same rows."""

    def __init__(self, *, groups: Sequence[str | None], confidence: float, margin: float) -> None:
        self._groups = groups
        self._confidence = confidence
        self._margin = margin

    def run(self, asked: Sequence[tuple[Looked, Scored]]) -> tuple[Looked, list[str], dict[str, str]]:
        """Return the base to take, the reasons, and why not each of the others."""
        best, alike = self.by_score(asked)
        others = {entry.name: self.behind(entry, best) for entry, _ in asked if entry not in alike}
        if len(asked) == 1:
            return best[0], ["the only one that may be used, fits and was asked"], others
        if len(alike) == 1:
            return best[0], ["it scores best without training, beyond noise"], others
        reasons = [f"{len(alike)} bases score alike on these rows without training"]
        alike, by_surprise = self.by_surprise(alike)
        if by_surprise:
            reasons.append("right answers surprise it least")
        chosen = min(alike, key=_size)
        if len(alike) > 1:
            reasons.append("it is the smallest of those that these rows do not tell apart")
        larger = f"larger than {chosen.name}, and these rows do not tell it from that"
        return chosen, reasons, others | by_surprise | {e.name: larger for e in alike if e is not chosen}

    def by_score(self, asked: Sequence[tuple[Looked, Scored]]) -> tuple[tuple[Looked, Scored], list[Looked]]:
        """Return the highest score, and all that it is not clearly ahead of (itself too)."""
        best = max(asked, key=lambda pair: (pair[1].way.mean, -_size(pair[0])))
        alike = [pair[0] for pair in asked if pair is best or self._word(self._scores(pair[1], best[1])) != "better"]
        return best, alike

    def behind(self, entry: Looked, best: tuple[Looked, Scored]) -> str:
        """Say by how much a base is behind the best."""
        assert isinstance(entry.scored, Scored)
        found = self._scores(entry.scored, best[1]).difference
        low, high = (100 * value for value in (found.low, found.high))
        return f"{100 * found.value:.1f} points behind {best[0].name} ({low:.1f} to {high:.1f})"

    def by_surprise(self, alike: list[Looked]) -> tuple[list[Looked], dict[str, str]]:
        """Keep the bases that right answers surprise least, as far as it can be told; say why not the others."""
        tables = [(entry, entry.scored.surprise) for entry in alike if isinstance(entry.scored, Scored)]
        whole = [(entry, table) for entry, table in tables if table[:, 1].all()]
        if len(whole) < 2:
            return alike, {}
        best, least = min(whole, key=lambda pair: pair[1][:, 0].sum() / pair[1][:, 1].sum())
        kept, others = [], {}
        for entry, table in whole:
            found = self._compared(Measure(name="bits", first=least, second=table, statistic=ratio)).difference
            if entry is best or not found.low > 0:
                kept.append(entry)
            else:
                others[entry.name] = f"right answers take {found.value:.2f} bits a byte more than with {best.name}"
        for entry in alike:
            if entry not in kept and entry.name not in others:
                others[entry.name] = "it cannot read every row"
        return kept, others

    def _scores(self, first: Scored, second: Scored) -> Paired:
        return self._compared(share("score", first.way.scores, second.way.scores))

    def _compared(self, measure: Measure) -> Paired:
        return paired(measure, groups=self._groups, confidence=self._confidence)

    def _word(self, found: Paired) -> Word:
        return decide(found, higher_is_better=True, margin=self._margin, confidence=self._confidence).word


def _size(entry: Looked) -> int:
    return entry.nature.parameters or 0 if entry.nature is not None else 0


def _cautions(entry: Looked) -> tuple[str, ...]:
    """Return what has to be known of the base that is recommended."""
    found = []
    if isinstance(entry.scored, Scored) and entry.scored.way.in_form < READABLE:
        share_of = 100 * entry.scored.way.in_form
        found.append(f"untrained it answers in the form of the task {share_of:.0f} % of the time: train it")
    if entry.licence.strictest == "not known":
        found.append("its licence is not known: read LICENSE before you use it")
    if entry.licence.strictest == "limits" and entry.licence.licence is not None:
        found.append(f"its licence has limits: {entry.licence.licence.limits}")
    if entry.nature is not None and not entry.nature.chat:
        found.append("it has no chat template: a plain one is used, and it has never seen a conversation")
    found += [f"{feature.name}: {feature.says}" for feature in entry.features if feature.word in ("fallback", "no")]
    if isinstance(entry.costs, str):
        found.append(f"its memory was not planned: {entry.costs}")
    return tuple(found)


def in_bits(scored: Scored) -> float | None:
    """Return the bits a byte of right answers, None where none was read."""
    return scored.bits if np.isfinite(scored.bits) else None
