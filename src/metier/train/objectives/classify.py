"""Learning with a head: one class, several labels or a number, read at the last token of the prompt.

The losses are those of `transformers` for the same problem types: cross-entropy, the mean binary cross-entropy over
the labels, and the squared error.
"""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from metier.forest import states
from metier.forest.pack import Batch
from metier.text.targets import HeadKind
from metier.train.objectives.supervised import Loss, label_weight, weighted


class Headed:
    """A head's loss, weighted by row."""

    def __init__(self, kind: HeadKind, *, packed: bool = True) -> None:
        self._kind = kind
        self._read = states.states if packed else states.states_alone

    def weight(self, batch: Batch) -> float:
        """Sum of the weights of the rows."""
        return label_weight(batch)

    def loss(self, model: torch.nn.Module, batch: Batch) -> Loss:
        """Weighted loss of the rows, summed."""
        assert batch.target is not None
        said = states.outputs(model, batch, self._read)
        return weighted(self._losses(said, batch.target[batch.sequence].to(said.dtype)), batch)

    def _losses(self, said: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Return the loss of each row [M] from outputs and targets [M, K]."""
        if self._kind == "classify":
            return cross_entropy(said, wanted.argmax(dim=1), reduction="none")
        if self._kind == "multilabel":
            return binary_cross_entropy_with_logits(said, wanted, reduction="none").mean(dim=1)
        return (said - wanted).square().mean(dim=1)
