"""How far the answers of one model are from those that another gave before.

Shapes: M = label positions, V = vocabulary.
"""

import math
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass

import torch

from metier.core.errors import ModelError
from metier.forest.states import label_answers
from metier.promote.reference import Reference

_CHUNK_POSITIONS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """KL of the next token in nats over all labels, the share of equal most likely tokens, and the worst row's source.

    A model that answers something that is not a number is infinitely far. `right`: the share of rows whose labels it
    would write word for word; `stops`: the share of ends at which it would stop; None where there is nothing of the
    kind to tell (a head of classes has no words).
    """

    largest_kl: float
    mean_kl: float
    greedy_agreement: float
    tokens: int
    worst_source: str
    right: float | None = None
    stops: float | None = None


def measure(model: torch.nn.Module, reference: Reference) -> Distance:
    """Compare a model with the recorded answers of the trained one, at every label of the reference rows.

    KL(p || q) = Σ_v p(v) (log p(v) − log q(v)), p the recorded answer, q the model's; in float64.

    Raises:
        ModelError: the model answers over another vocabulary.
    """
    return compared(label_answers(model, reference.sequences), reference)


def compared(answers: Iterable[tuple[int, torch.Tensor]], reference: Reference) -> Distance:
    """Compare answers, [M_i, V] by row, with the recorded ones of the same rows; `measure` says how.

    Raises:
        ModelError: they are over another vocabulary.
    """
    total, agreed, count, largest, worst = 0.0, 0, 0, -math.inf, ""
    likeliest: dict[int, torch.Tensor] = {}
    for index, given in answers:
        expected = reference.logprobs(index)
        if given.shape != expected.shape:
            raise ModelError(
                f"answers of shape {list(given.shape)}", f"{list(expected.shape)} [labels, vocabulary], as recorded"
            )
        divergences, equal = _compare(expected, given.cpu())
        likeliest[index] = given.argmax(-1).cpu()
        total += math.fsum(divergences)
        agreed += equal
        count += len(divergences)
        if divergences and max(divergences) > largest:
            largest, worst = max(divergences), reference.sequences[index].source
    return Distance(
        largest_kl=largest,
        mean_kl=total / count,
        greedy_agreement=agreed / count,
        tokens=count,
        worst_source=worst,
        **wording(reference, likeliest),
    )


def wording(reference: Reference, likeliest: Mapping[int, torch.Tensor]) -> dict[str, float | None]:
    """Return what most likely tokens say of whole answers: the shares that `Distance` calls `right` and `stops`.

    A model that writes the likeliest token each time writes a row's labels exactly when each of them is the likeliest
    behind those before it: so nothing has to be generated.

    Args:
        reference: the rows.
        likeliest: row -> the most likely token at each of its labels, int64 [M_i].
    """
    labels = {index: reference.labels(index) for index in likeliest}
    if any(len(labels[index]) != len(found) for index, found in likeliest.items()) or not likeliest:
        return {"right": None, "stops": None}
    right = [torch.equal(found, labels[index]) for index, found in likeliest.items()]
    stop_ids = torch.tensor(reference.stop_ids, dtype=torch.long)
    ends = [torch.isin(found[torch.isin(labels[index], stop_ids)], stop_ids) for index, found in likeliest.items()]
    stops = torch.cat(ends)
    return {"right": sum(right) / len(right), "stops": stops.float().mean().item() if len(stops) else None}


def _compare(expected: torch.Tensor, answers: torch.Tensor) -> tuple[Many[float], int]:
    """Return the KL at each position and the number of positions with the same most likely token."""
    divergences: list[float] = []
    for start in range(0, len(expected), _CHUNK_POSITIONS):
        before, after = (_normalised(part[start : start + _CHUNK_POSITIONS]) for part in (expected, answers))
        terms = torch.where(before.exp() > 0, before.exp() * (before - after), 0.0)
        sums = terms.sum(-1).tolist()
        # Rounding can take a divergence of zero a hair below it; what is not a number at all is as far as can be.
        divergences += [max(0.0, value) if math.isfinite(value) else math.inf for value in sums]
    return divergences, int((expected.argmax(-1) == answers.argmax(-1)).sum())


def _normalised(logprobs: torch.Tensor) -> torch.Tensor:
    """Return log-probabilities in float64 that sum to one: the rounding of float32 would otherwise hide small KLs."""
    exact = logprobs.double()
    return exact - exact.logsumexp(-1, keepdim=True)
