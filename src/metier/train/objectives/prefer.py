"""Preferences: the better answer becomes likelier than the worse one, by how the base sees both.

With x the prompt, y the better and z the worse answer, r the model before its first step (the base) and p the model:
h = log p(y|x) - log r(y|x) - (log p(z|x) - log r(z|x)). The base's part is computed once, before the training.

Shapes: M = labels of a forest, S = its sequences (even ones better, odd ones worse), P = S / 2 pairs.
"""

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from metier.forest.forest import Forest
from metier.forest.read import by_sequence
from metier.forest.way import Way
from metier.train.objectives.supervised import Loss
from metier.train.settings import PreferSettings

TOGETHER = 2
"""Sequences of a row that have to stand in one forest."""


class Prefer:
    """The loss of pairs, by the settings one of four.

    - `sigmoid`: -(1 - e) log s(b h) - e log s(-b h), e = label_smoothing (Rafailov et al. 2023, "Direct preference
      optimization", equation 7; with e: Mitchell 2023, "A note on DPO with noisy preferences", equation 3).
    - `ipo`: (h - 1 / (2 b))² (Azar et al. 2023, "A general theoretical paradigm to understand learning from human
      preferences", equation 17).
    - `hinge`: max(0, 1 - b h) (Zhao et al. 2023, "SLiC-HF", equation 1, with b h in the place of their difference).

    `likelihood` adds so many times the better answer's mean negative log-likelihood (Pang et al. 2024, "Iterative
    reasoning preference optimization", equation 1).

    Args:
        settings: which, and with what b (`beta`).
        way: how the model is computed.
    """

    def __init__(self, settings: PreferSettings, way: Way = Way()) -> None:  # noqa: B008 - frozen
        self._settings = settings
        self._way = way

    def weight(self, forest: Forest) -> float:
        """Sum of the weights of the pairs."""
        return _of_pairs(forest).sum(dtype=torch.float64).item()

    def loss(self, model: torch.nn.Module, forest: Forest) -> Loss:
        """Loss of the pairs times their weights, summed; `rows` has it at the better sequence."""
        said = -by_sequence(forest, self._way.losses(model, forest))
        losses = self.of_pairs(said, _expected(forest).to(said)) + self._likelihood(said, forest)
        weights = _of_pairs(forest).to(losses)
        products = losses * weights
        rows = torch.stack([products.detach(), torch.zeros_like(products)], dim=1).flatten()
        return Loss(total=products.sum(), weight=weights.sum(dtype=torch.float64).item(), rows=rows)

    def of_pairs(self, said: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
        """Return the loss of each pair, [P], of log-probabilities in nats of the model and of the base, both [S]."""
        gained = said - expected
        scaled = self._settings.beta * (gained[0::2] - gained[1::2])
        if self._settings.loss == "ipo":
            return (scaled / self._settings.beta - 1 / (2 * self._settings.beta)).square()
        if self._settings.loss == "hinge":
            return torch.relu(1 - scaled)
        smoothing = self._settings.label_smoothing
        return -(1 - smoothing) * logsigmoid(scaled) - smoothing * logsigmoid(-scaled)

    def _likelihood(self, said: torch.Tensor, forest: Forest) -> torch.Tensor:
        counts = by_sequence(forest, torch.ones_like(forest.weight, dtype=said.dtype))
        return -self._settings.likelihood * said[0::2] / counts[0::2]


def _expected(forest: Forest) -> torch.Tensor:
    """Return what the base gives each sequence, [S], in nats."""
    targets = [sequence.target for sequence in forest.sequences if sequence.target is not None]
    assert len(targets) == len(forest.sequences), "the base is asked before the training"
    return torch.from_numpy(np.concatenate(targets).astype(np.float64))


def _of_pairs(forest: Forest) -> torch.Tensor:
    """Return the weight of each pair, float64 [P]: the largest of a token of the better answer."""
    weights = [float(sequence.weights.max()) for sequence in forest.sequences[::TOGETHER]]
    return torch.tensor(weights, dtype=torch.float64)
