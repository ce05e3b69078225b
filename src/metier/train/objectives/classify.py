"""Learning with a head: one class, several labels or a number, read at the last token of the prompt.

The losses are those of `transformers` for the same problem types: cross-entropy, the mean binary cross-entropy over
the labels, and the squared error.

Shapes: M = labels of a forest (one a row), K = outputs of the head.
"""

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from metier.forest import states
from metier.forest.forest import Forest
from metier.forest.way import Way
from metier.text.targets import HeadKind
from metier.train.objectives.supervised import Loss, label_weight, weighted


class Headed:
    """A head's loss, weighted by row."""

    def __init__(self, kind: HeadKind, way: Way = Way()) -> None:  # noqa: B008 - frozen
        self._kind: HeadKind = kind
        self._way = way

    def weight(self, forest: Forest) -> float:
        """Sum of the weights of the rows."""
        return label_weight(forest)

    def loss(self, model: torch.nn.Module, forest: Forest) -> Loss:
        """Weighted loss of the rows, summed."""
        said = states.outputs(self._way, model, forest)
        targets = np.stack([sequence.target for sequence in forest.sequences if sequence.target is not None])
        wanted = torch.from_numpy(targets).to(said)[forest.sequence]
        return weighted(losses(self._kind, said, wanted), forest)


def losses(kind: HeadKind, said: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the loss of each row [M] from outputs and targets [M, K]."""
    if kind == "classify":
        return cross_entropy(said, wanted.argmax(dim=1), reduction="none")
    if kind == "multilabel":
        return binary_cross_entropy_with_logits(said, wanted, reduction="none").mean(dim=1)
    return (said - wanted).square().mean(dim=1)
