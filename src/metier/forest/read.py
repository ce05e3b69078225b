"""Read many sequences without learning: losses of rows and log-probabilities at labels, each beginning read once."""

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Many

import torch

from metier.core.progress import Progress, Silent
from metier.core.types import Sequence
from metier.forest.descend import descend
from metier.forest.forest import Forest
from metier.forest.way import Way, probe

AT_ONCE = 64
"""Sequences whose common beginnings are looked for together."""

READ_TOKENS = 4096
"""Most tokens that are read at once."""


@torch.no_grad()
def label_logits(
    model: torch.nn.Module, sequences: Many[Sequence], *, micro_batch_tokens: int = READ_TOKENS
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield (index of the sequence, log-probabilities float32 [M_i, V] at its labels), in no particular order."""
    for indices, forest, logits in visit(model, sequences, micro_batch_tokens, Way.logits):
        logp = torch.log_softmax(logits.float(), dim=-1)
        for place, index in enumerate(indices):
            yield index, logp[forest.sequence == place]


@torch.no_grad()
def row_losses(
    model: torch.nn.Module,
    sequences: Many[Sequence],
    *,
    micro_batch_tokens: int = READ_TOKENS,
    progress: Progress | None = None,
    way: Way | None = None,
) -> list[tuple[float, float]]:
    """Return for each sequence its weighted loss in nats and its weight, both sums over its labels.

    Args:
        model: in evaluation mode.
        sequences: to be measured.
        micro_batch_tokens: most tokens computed at once.
        progress: told of every sequence.
        way: how this model is computed, where it was probed before; None: it is probed now.
    """
    results: list[tuple[float, float]] = [(0.0, 0.0)] * len(sequences)
    with (progress or Silent()).task("measure loss", len(sequences)) as bar:
        for indices, forest, nats in visit(model, sequences, micro_batch_tokens, Way.losses, way=way):
            sums = by_sequence(forest, (nats * forest.weight).double())
            weights = by_sequence(forest, forest.weight.double())
            for place, index in enumerate(indices):
                results[index] = (sums[place].item(), weights[place].item())
            bar.advance(len(indices))
    return results


def by_sequence(forest: Forest, values: torch.Tensor) -> torch.Tensor:
    """Sum values [M] over the labels of each sequence: [S]."""
    return values.new_zeros(len(forest.lengths)).index_add_(0, forest.sequence, values)


def visit(
    model: torch.nn.Module,
    sequences: Many[Sequence],
    budget: int,
    read: Callable[[Way, torch.nn.Module, Forest], torch.Tensor],
    *,
    way: Way | None = None,
) -> Iterator[tuple[tuple[int, ...], Forest, torch.Tensor]]:
    """Yield (indices of sequences, their forest, what `read` says at its labels, [M, ...]).

    A sequence without labels has nothing to read.
    """
    labelled = [index for index, sequence in enumerate(sequences) if sequence.weights.any()]
    way = probe(model) if way is None else way
    with way.attention(model):
        for start in range(0, len(labelled), AT_ONCE):
            chosen = labelled[start : start + AT_ONCE]
            for places, forest in descend(model, way.arrange([sequences[index] for index in chosen], budget)):
                yield tuple(chosen[place] for place in places), forest, read(way, model, forest)
