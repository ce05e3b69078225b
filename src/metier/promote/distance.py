"""How far the answers of one model are from those that another gave before.

Shapes: M = label positions, V = vocabulary.
"""

import math
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

    A model that answers something that is not a number is infinitely far.
    """

    largest_kl: float
    mean_kl: float
    greedy_agreement: float
    tokens: int
    worst_source: str


def measure(model: torch.nn.Module, reference: Reference) -> Distance:
    """Compare a model with the recorded answers of the trained one, at every label of the reference rows.

    KL(p || q) = Σ_v p(v) (log p(v) − log q(v)), p the recorded answer, q the model's; in float64.

    Raises:
        ModelError: the model answers over another vocabulary.
    """
    total, agreed, largest, worst = 0.0, 0, -math.inf, ""
    for index, answers in label_answers(model, reference.sequences):
        expected = reference.logprobs(index)
        if answers.shape != expected.shape:
            raise ModelError(
                f"answers of shape {list(answers.shape)}", f"{list(expected.shape)} [labels, vocabulary], as recorded"
            )
        divergences, equal = _compare(expected, answers.cpu())
        total += math.fsum(divergences)
        agreed += equal
        if divergences and max(divergences) > largest:
            largest, worst = max(divergences), reference.sequences[index].source
    return Distance(
        largest_kl=largest,
        mean_kl=total / reference.tokens,
        greedy_agreement=agreed / reference.tokens,
        tokens=reference.tokens,
        worst_source=worst,
    )


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
