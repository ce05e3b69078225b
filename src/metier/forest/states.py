"""What a decoder holds where it would predict a label, and what a head of classes or numbers says there.

Shapes: M = labels of a forest, E = width of the decoder, K = outputs of a head, V = vocabulary.
"""

from collections.abc import Iterator
from collections.abc import Sequence as Many

import torch
from torch.nn.functional import logsigmoid

from metier.core.errors import ModelError
from metier.core.types import Sequence
from metier.forest import read, score
from metier.forest.attend import inner_model
from metier.forest.forest import Forest
from metier.forest.way import Way
from metier.model.head import head_of


def outputs(way: Way, model: torch.nn.Module, forest: Forest) -> torch.Tensor:
    """Return what the model's head says at each label, [M, K], at least in float32."""
    head = head_of(model)
    if head is None:
        raise ModelError(f"{type(inner_model(model)).__name__}: no head", "a model trained with one")
    return score.at_least_float32(head(way.states(model, forest)))


@torch.no_grad()
def row_states(
    model: torch.nn.Module, sequences: Many[Sequence], *, through_head: bool, micro_batch_tokens: int = 4096
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield (index of the sequence, its states [M_i, E], or what the head says [M_i, K]), in no particular order."""
    wanted = outputs if through_head else Way.states
    for indices, forest, found in read.visit(model, sequences, micro_batch_tokens, wanted):
        for place, index in enumerate(indices):
            yield index, score.at_least_float32(found[forest.sequence == place])


def label_answers(model: torch.nn.Module, sequences: Many[Sequence]) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield (index of the sequence, log-probabilities of what the model answers at its labels).

    Without a head: over the vocabulary, [M_i, V]. With one: over the classes, [M_i, K]; where every output stands for
    itself (several labels, a number), of each as a yes or no, [M_i · K, 2].
    """
    if head_of(model) is None:
        yield from read.label_logits(model, sequences)
        return
    together = inner_model(model).config.problem_type == "single_label_classification"
    for index, found in row_states(model, sequences, through_head=True):
        if together:
            yield index, torch.log_softmax(found.float(), dim=-1)
        else:
            flat = found.float().reshape(-1)
            yield index, torch.stack([logsigmoid(flat), logsigmoid(-flat)], dim=-1)
