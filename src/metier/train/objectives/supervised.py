"""Supervised learning: the weighted negative log-likelihood of the labels, -Σ w·log p.

Shapes: M = label positions of a batch, S = its sequences.
"""

from dataclasses import dataclass
from typing import Protocol

import torch

from metier.forest import score
from metier.forest.pack import Batch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loss:
    """An undivided loss: `total` in nats (a scalar that carries the gradient), `weight` to divide by, `rows` [S]."""

    total: torch.Tensor
    weight: float
    rows: torch.Tensor


class Objective(Protocol):
    """What differs between methods; the loop knows nothing else of them."""

    def weight(self, batch: Batch) -> float:
        """Return what the batch's loss will be divided by, as a share of the step's sum."""

    def loss(self, model: torch.nn.Module, batch: Batch) -> Loss:
        """Return the undivided loss of a batch."""


def label_weight(batch: Batch) -> float:
    """Return the sum of the label weights of a batch."""
    return batch.weight.sum(dtype=torch.float64).item()


def weighted(nats: torch.Tensor, batch: Batch) -> Loss:
    """Return the loss of a batch whose labels cost `nats` [M], each times its weight."""
    products = nats * batch.weight
    rows = products.new_zeros(len(batch.lengths)).index_add_(0, batch.sequence, products.detach())
    return Loss(total=products.sum(), weight=label_weight(batch), rows=rows)


class Supervised:
    """Instruction tuning, completion and continued pre-training: they differ in the label weights only."""

    def __init__(self, *, packed: bool = True) -> None:
        self._losses = score.losses if packed else score.alone

    def weight(self, batch: Batch) -> float:
        """Sum of the label weights."""
        return label_weight(batch)

    def loss(self, model: torch.nn.Module, batch: Batch) -> Loss:
        """Weighted negative log-likelihood, summed."""
        return weighted(self._losses(model, batch), batch)
