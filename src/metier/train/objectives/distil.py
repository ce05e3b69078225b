"""Context distillation: act without the long prompt as the base does with it.

The loss is KL(teacher || student) over the whole vocabulary at every token of the answer. The teacher is the base
itself, reading the long prompt: the model with its adapter off, or a frozen copy where whole weights are trained.
(Askell et al. 2021, "A general language assistant as a laboratory for alignment", section 3.)

Shapes: M = labels of a forest, V = vocabulary.
"""

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from metier.core.types import Sequence
from metier.forest import score
from metier.forest.arrange import Arrangement
from metier.forest.forest import Forest
from metier.forest.stem import Stem
from metier.forest.way import Way
from metier.train.objectives import regularised
from metier.train.objectives.regularised import BaseModel
from metier.train.objectives.supervised import Loss, label_weight, weighted

_CHUNK_LABELS = 256
"""Labels whose divergence is computed at once: its terms need as much memory as the logits again."""


class Distil:
    """The divergence of the student from its teacher.

    Args:
        teacher: the base, made before the model's first step.
        way: how the model is computed.
        budget: most tokens that the teacher reads at once; its prompts are longer, and shared beginnings its own.
    """

    def __init__(self, teacher: BaseModel, way: Way = Way(), *, budget: int = 4096) -> None:  # noqa: B008 - frozen
        self._teacher = teacher
        self._way = way
        self._budget = budget
        self._stem = Stem()

    def weight(self, forest: Forest) -> float:
        """Sum of the label weights."""
        return label_weight(forest)

    def loss(self, model: torch.nn.Module, forest: Forest) -> Loss:
        """Weighted divergence of the answers' tokens, summed."""
        expected = self.expected(forest)
        return weighted(divergence(expected, self._way.logits(model, forest)), forest)

    def expected(self, forest: Forest) -> torch.Tensor:
        """Return the teacher's log-probabilities [M, V], in the order of the forest's labels: by sequence and place."""
        partners = [_partner(sequence) for sequence in forest.sequences]
        found: dict[int, torch.Tensor] = {}
        for indices, part in self._arranged(partners).forests:
            said = self._teacher.log_probabilities(part.to(forest.ids.device))
            found |= zip(indices, said.split([_labels(partners[index]) for index in indices]), strict=True)
        return torch.cat([found[index] for index in range(len(partners))])

    def _arranged(self, partners: list[Sequence]) -> Arrangement:
        """Hang what the teacher reads from the long prompt: it never changes, so what it makes of that is kept."""
        if not (self._way.packed and self._way.is_steady(partners)):
            return self._way.arrange(partners, self._budget)
        return self._stem.arrange(partners, self._budget)


def divergence(expected: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return KL(expected || softmax(logits)) in nats, [M], of log-probabilities and logits [M, V], chunk by chunk."""
    parts = zip(expected.split(_CHUNK_LABELS), logits.split(_CHUNK_LABELS), strict=True)
    return torch.cat([checkpoint(_divergence, *part, use_reentrant=False, preserve_rng_state=False) for part in parts])


def _divergence(expected: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return regularised.divergence(expected, score.at_least_float32(logits))


def _partner(sequence: Sequence) -> Sequence:
    assert sequence.partner is not None
    assert np.array_equal(*(each.ids[each.weights != 0] for each in (sequence, sequence.partner)))
    return sequence.partner


def _labels(sequence: Sequence) -> int:
    return int((sequence.weights != 0).sum())
