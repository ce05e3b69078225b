"""Context distillation: act without the long prompt as the base does with it.

The loss is KL(teacher || student) over the whole vocabulary at every token of the answer. The teacher is the base
itself, reading the long prompt: the model with its adapter off, or a frozen copy where whole weights are trained.
(Askell et al. 2021, "A general language assistant as a laboratory for alignment", section 3.)

Shapes: M = label positions of a batch, V = vocabulary.
"""

import torch
from torch.utils.checkpoint import checkpoint

from metier.forest import score
from metier.forest.pack import Batch
from metier.train.objectives import regularised
from metier.train.objectives.regularised import BaseModel
from metier.train.objectives.supervised import Loss, label_weight

_CHUNK_POSITIONS = 256
"""Label positions whose divergence is computed at once: its terms need as much memory as the logits again."""


class Distil:
    """The divergence of the student from its teacher.

    Args:
        teacher: the base, made before the model's first step.
        packed: whether this architecture keeps packed sequences apart.
    """

    def __init__(self, teacher: BaseModel, *, packed: bool = True) -> None:
        self._teacher = teacher
        self._read = score.logits if packed else score.logits_alone

    def weight(self, batch: Batch) -> float:
        """Sum of the label weights."""
        return label_weight(batch)

    def loss(self, model: torch.nn.Module, batch: Batch) -> Loss:
        """Weighted divergence of the answers' tokens, summed."""
        assert batch.partner is not None
        own, theirs = _order(batch), _order(batch.partner)
        assert torch.equal(batch.token[own], batch.partner.token[theirs])
        expected = self._teacher.log_probabilities(self._read, batch.partner)[theirs]
        said = self._read(model, batch)[own]
        products = divergence(expected, said) * batch.weight[own]
        rows = products.new_zeros(len(batch.lengths)).index_add_(0, batch.sequence[own], products.detach())
        return Loss(total=products.sum(), weight=self.weight(batch), rows=rows)


def divergence(expected: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return KL(expected || softmax(logits)) in nats, [M], of log-probabilities and logits [M, V], chunk by chunk."""
    parts = zip(expected.split(_CHUNK_POSITIONS), logits.split(_CHUNK_POSITIONS), strict=True)
    return torch.cat([checkpoint(_divergence, *part, use_reentrant=False, preserve_rng_state=False) for part in parts])


def _divergence(expected: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return regularised.divergence(expected, score.at_least_float32(logits))


def _order(batch: Batch) -> torch.Tensor:
    """Return the labels by sequence, in the order of their places: prompts of other lengths stand in other orders."""
    return torch.argsort(batch.sequence, stable=True)
