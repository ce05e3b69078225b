"""Learning from rewards: answers that the model gave become likelier by how much better than their group they are.

The loss of a step is -1/n Σ_i A_i Σ_t c_i log p(o_i,t) over its n answers; see `reinforcing.advantages`. With
`train.regularise.kl_to_base` k, k c_i KL(base ‖ tuned) is added at every token, where equation 3 of arXiv 2402.03300
has its divergence: over the whole vocabulary, rather than estimated from the token that was drawn.

Shapes: M = labels of a forest, S = its sequences, each with the target (A, the number of answers that it stands for).
"""

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from metier.forest import score
from metier.forest.forest import Forest
from metier.forest.read import by_sequence
from metier.forest.way import Way
from metier.train.objectives.regularised import BaseModel, divergence
from metier.train.objectives.supervised import Loss


class Reinforce:
    """The policy gradient of graded answers; their label weights are c, their targets (A, answers stood for).

    Args:
        way: how the model is computed.
        base: None without a pull to it.
        pull: `train.regularise.kl_to_base`.
    """

    def __init__(self, way: Way = Way(), *, base: BaseModel | None = None, pull: float = 0.0) -> None:  # noqa: B008 - frozen
        self._way = way
        self._base = base
        self._pull = pull

    def weight(self, forest: Forest) -> float:
        """Return the number of answers: those that teach nothing are not computed, others stand for them."""
        return float(_targets(forest)[:, 1].sum())

    def loss(self, model: torch.nn.Module, forest: Forest) -> Loss:
        """Policy-gradient loss of the answers, summed."""
        advantage = torch.from_numpy(_targets(forest)[:, 0]).to(forest.sequence.device)[forest.sequence]
        if self._base is None:
            nats = self._way.losses(model, forest)
            nats = advantage.to(nats) * nats
        else:
            expected = self._base.log_probabilities(forest)
            logits = score.at_least_float32(self._way.logits(model, forest))
            nats = cross_entropy(logits, forest.token, reduction="none")
            nats = advantage.to(nats) * nats + self._pull * divergence(expected, logits)
        products = nats * forest.weight
        rows = by_sequence(forest, products.detach())
        return Loss(total=products.sum(), weight=self.weight(forest), rows=rows)


def _targets(forest: Forest) -> np.ndarray:
    """Return advantages and answers stood for, float64 [S, 2]."""
    targets = [sequence.target for sequence in forest.sequences if sequence.target is not None]
    assert len(targets) == len(forest.sequences), "answers are graded before they are learnt"
    return np.stack(targets).astype(np.float64)
