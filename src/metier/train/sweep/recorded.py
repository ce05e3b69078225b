"""An objective that remembers what each held-out sequence cost, so that two models can be compared in pairs."""

import torch

from metier.forest.forest import Forest
from metier.train.objectives.supervised import Loss, Objective


class Recorded:
    """The objective itself; losses of a model in evaluation mode are kept, in the order in which they were computed.

    Args:
        objective: what is computed.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self.rows: list[float] = []
        self.divisor = 0.0

    def weight(self, forest: Forest) -> float:
        """As of the objective."""
        return self._objective.weight(forest)

    def loss(self, model: torch.nn.Module, forest: Forest) -> Loss:
        """As of the objective."""
        found = self._objective.loss(model, forest)
        if not model.training:
            self.rows += found.rows.tolist()
            self.divisor += found.weight
        return found
