"""What a model behind HTTP says to what the trained one was asked, and how far that is from it.

A server tells the likeliest tokens only. The divergence is therefore taken over these and "any other": it is never
larger than the one over the whole vocabulary (data-processing inequality; Cover and Thomas, section 2.8).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from metier.core import seeds
from metier.promote.distance import Distance
from metier.promote.reference import Reference

MOST_LABELS = 256
"""Labels asked about, drawn from all."""
_LEAST = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What a model would say next: its likeliest token (or several, told by one text), log-probabilities of some."""

    best: frozenset[int]
    chances: Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer to a conversation: its text, whether a stop token ended it, and the prompt's tokens.

    `prompt`: the tokens themselves or, from servers that tell no more, their number.
    """

    text: str
    stopped: bool
    prompt: tuple[int, ...] | int


class Far(Protocol):
    """A model behind HTTP."""

    def following(self, ids: Sequence[int], places: Sequence[int]) -> list[Next]:
        """Return what it would say after ids[:place] for each place."""
        ...

    def stops_at(self, ids: Sequence[int], token: int) -> bool:
        """Tell whether an answer to these ids that is made to begin with a token ends there."""
        ...

    def converse(self, messages: Sequence[Mapping[str, Any]], most_tokens: int) -> Said:
        """Let it answer a conversation greedily."""
        ...


def distance(far: Far, reference: Reference) -> Distance:
    """Compare a model behind HTTP with the recorded answers of the trained one, at up to 256 labels."""
    asked = _asked(reference)
    total, largest, agreed, worst, count = 0.0, -math.inf, 0, "", 0
    ends: list[bool] = []
    for index, labels in sorted(asked.items()):
        sequence, recorded = reference.sequences[index], reference.logprobs(index)
        every = (sequence.weights != 0).nonzero()[0]
        answers = far.following(sequence.ids.tolist(), [int(every[label]) for label in labels])
        for label, answer in zip(labels, answers, strict=True):
            divergence = coarse(recorded[label].double(), answer.chances)
            total, count = total + divergence, count + 1
            agreed += int(recorded[label].argmax()) in answer.best
            if int(sequence.ids[every[label]]) in reference.stop_ids:
                ends.append(not answer.best.isdisjoint(reference.stop_ids))
            if divergence > largest:
                largest, worst = divergence, sequence.source
    return Distance(
        largest_kl=largest, mean_kl=total / count, greedy_agreement=agreed / count, tokens=count, worst_source=worst,
        stops=sum(ends) / len(ends) if ends else None,
    )  # fmt: skip


def coarse(expected: torch.Tensor, chances: Mapping[int, float]) -> float:
    """Return KL(p || q) in nats over the tokens that q is known of and "any other"; infinite for q not a number.

    Args:
        expected: log-probabilities p, float64 [V].
        chances: token -> log-probability q.
    """
    tokens = [token for token in chances if token < len(expected)]
    p = expected[tokens].exp()
    q = torch.tensor([chances[token] for token in tokens], dtype=torch.float64).exp()
    rest_p, rest_q = (max(_LEAST, 1 - part.sum().item()) for part in (p, q))
    value = torch.where(p > 0, p * (p / q).log(), 0.0).sum().item() + rest_p * math.log(rest_p / rest_q)
    return max(0.0, value) if math.isfinite(value) else math.inf


def _asked(reference: Reference) -> dict[int, list[int]]:
    """Choose labels by a fixed permutation: row -> which of its labels, in order."""
    pairs = [(row, label) for row in range(len(reference.sequences)) for label in range(len(reference.logprobs(row)))]
    chosen = sorted(pairs[int(place)] for place in seeds.permutation(len(pairs), "far")[:MOST_LABELS])
    asked: dict[int, list[int]] = {}
    for row, label in chosen:
        asked.setdefault(row, []).append(label)
    return asked
