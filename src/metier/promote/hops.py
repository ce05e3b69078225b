"""One hop of the certificate: its figures, its limits, and what is wrong with it in words."""

import dataclasses
import math
from dataclasses import dataclass

import torch

from metier.promote.distance import Distance, measure, wording
from metier.promote.reference import Reference
from metier.promote.settings import PromoteSettings, RoundedSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """A hop and whether it holds; the figures are None where it has none or broke before it could be measured.

    `right` and `stops` as in `Distance`: answers that are the row's own, ends at which it stops.
    """

    name: str
    ok: bool
    largest_kl: float | None = None
    mean_kl: float | None = None
    greedy_agreement: float | None = None
    right: float | None = None
    stops: float | None = None
    tokens: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a hop may differ by: KL in nats, and the smallest share of equal most likely tokens.

    Of the answers and ends that the trained model has right, a hop may lose the share of tokens that may differ.
    """

    largest_kl: float
    mean_kl: float
    least_agreement: float


_EXACT = Limits(largest_kl=1e-5, mean_kl=1e-7, least_agreement=0.99)
_ROUNDED = Limits(largest_kl=0.1, mean_kl=0.01, least_agreement=0.95)
_EIGHT_BITS = Limits(largest_kl=1.0, mean_kl=0.02, least_agreement=0.95)
_FOUR_BITS = Limits(largest_kl=5.0, mean_kl=0.2, least_agreement=0.8)
_BY_BITS = {"int8": _EIGHT_BITS, "q8_0": _EIGHT_BITS, "nf4": _FOUR_BITS, "q4_0": _FOUR_BITS}


def derive_limits(settings: PromoteSettings, *, rounded: bool) -> Limits:
    """Return the limits that settings ask for; a null becomes what rounding can explain.

    Args:
        settings: as the user gave them.
        rounded: the trained weights were rounded to bfloat16 when they were saved.
    """
    return _given(settings, _ROUNDED if rounded else _EXACT)


def rounded_limits(settings: PromoteSettings, precision: str) -> Limits:
    """Return the limits of a hop that rounds weights, or that computes elsewhere, on purpose.

    Args:
        settings: as the user gave them.
        precision: a number format; what is no known one of few bits counts as 16 bits.
    """
    return _given(settings.rounded, _BY_BITS.get(precision, _ROUNDED))


def _given(settings: PromoteSettings | RoundedSettings, derived: Limits) -> Limits:
    given = {
        "largest_kl": settings.largest_kl,
        "mean_kl": settings.mean_kl,
        "least_agreement": settings.least_agreement,
    }
    return dataclasses.replace(derived, **{name: value for name, value in given.items() if value is not None})


def judge(
    name: str, model: torch.nn.Module, reference: Reference, *, limits: Limits, from_base: Distance | None
) -> Hop:
    """Measure a model against the recorded answers of the trained one.

    Args:
        name: of the hop.
        model: what came out of it, in evaluation mode.
        reference: the trained model's answers.
        limits: beyond them the hop is broken.
        from_base: how far the trained model is from its base: a model just as far has lost what was trained.

    Raises:
        ModelError: the model answers over another vocabulary.
    """
    return weighed(name, measure(model, reference), reference, limits=limits, from_base=from_base)


def weighed(
    name: str, found: Distance, reference: Reference, *, limits: Limits, from_base: Distance | None, more: str = ""
) -> Hop:
    """Hold what was measured against the limits; `more`: what else is wrong, in words."""
    breaches = _breaches(found, limits) + _worse(found, reference, limits)
    if breaches and from_base is not None and math.isclose(found.mean_kl, from_base.mean_kl, rel_tol=1e-3):
        breaches.append("it answers as the base does: what was trained is not in it")
    breaches += [more] if more else []
    return Hop(
        name=name,
        ok=not breaches,
        largest_kl=finite(found.largest_kl),
        mean_kl=finite(found.mean_kl),
        greedy_agreement=found.greedy_agreement,
        right=found.right,
        stops=found.stops,
        tokens=found.tokens,
        detail="; ".join(breaches) or f"largest KL {found.largest_kl:.1e} nats over {found.tokens:,} labels",
    )


def trained_shares(reference: Reference) -> tuple[float | None, float | None]:
    """Return the trained model's own share of right answers, and of ends at which it stops."""
    shares = wording(reference, {row: reference.logprobs(row).argmax(-1) for row in range(len(reference.sequences))})
    return shares["right"], shares["stops"]


def _breaches(found: Distance, limits: Limits) -> list[str]:
    breaches = []
    if not found.largest_kl <= limits.largest_kl:
        breaches.append(f"largest KL {found.largest_kl:.3g} nats at {found.worst_source} (limit {limits.largest_kl:g})")
    if not found.mean_kl <= limits.mean_kl:
        breaches.append(f"mean KL {found.mean_kl:.3g} nats (limit {limits.mean_kl:g})")
    if found.greedy_agreement < limits.least_agreement:
        breaches.append(f"same next token at {found.greedy_agreement:.2%} (least {limits.least_agreement:.2%})")
    return breaches


def _worse(found: Distance, reference: Reference, limits: Limits) -> list[str]:
    """Say where fewer answers are right, or fewer ends, than the trained model's: one may always be a tie."""
    if found.right is None:
        return []
    right, stops = trained_shares(reference)
    rows = len(reference.sequences)
    lost = 1 - limits.least_agreement + 1 / rows + 1e-9
    pairs = ((found.right, right, "answers right"), (found.stops, stops, "ends where it stops"))
    return [
        f"{now:.0%} of its {what}, trained {before:.0%}"
        for now, before, what in pairs
        if now is not None and before is not None and now < before - lost
    ]


def finite(value: float) -> float | None:
    """Return a number as JSON can hold it: None for one that is infinite or not a number."""
    return value if math.isfinite(value) else None
