"""Supervised learning: the weighted negative log-likelihood of the labels, -Σ w·log p.

Shapes: M = labels of a forest, S = its sequences.
"""

from dataclasses import dataclass
from typing import Protocol

import torch

from metier.forest.forest import Forest
from metier.forest.read import by_sequence
from metier.forest.way import Way


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loss:
    """An undivided loss: `total` in nats (a scalar that carries the gradient), `weight` to divide by, `rows` [S].

    `right`: the weight of the labels than which no token is likelier, a scalar; None where that is not what is learnt.
    """

    total: torch.Tensor
    weight: float
    rows: torch.Tensor
    right: torch.Tensor | None = None


class Objective(Protocol):
    """What differs between methods; the loop knows nothing else of them."""

    def weight(self, forest: Forest) -> float:
        """Return what the forest's loss will be divided by, as a share of the step's sum."""

    def loss(self, model: torch.nn.Module, forest: Forest) -> Loss:
        """Return the undivided loss of a forest."""


def label_weight(forest: Forest) -> float:
    """Return the sum of the label weights of a forest."""
    return forest.weight.sum(dtype=torch.float64).item()


def weighted(nats: torch.Tensor, forest: Forest, *, right: torch.Tensor | None = None) -> Loss:
    """Return the loss of a forest whose labels cost `nats` [M], each times its weight; `right` bool [M]."""
    products = nats * forest.weight
    return Loss(
        total=products.sum(),
        weight=label_weight(forest),
        rows=by_sequence(forest, products.detach()),
        right=None if right is None else (right * forest.weight).sum(dtype=torch.float64),
    )


class Supervised:
    """Instruction tuning, completion and continued pre-training: they differ in the label weights only."""

    def __init__(self, way: Way = Way()) -> None:  # noqa: B008 - frozen
        self._way = way

    def weight(self, forest: Forest) -> float:
        """Sum of the label weights."""
        return label_weight(forest)

    def loss(self, model: torch.nn.Module, forest: Forest) -> Loss:
        """Weighted negative log-likelihood, summed."""
        judged = self._way.judged(model, forest)
        return weighted(judged.nats, forest, right=judged.right)
