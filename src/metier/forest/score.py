"""Log-probabilities at labels: the model's head runs at label positions only.

Shapes: N = packed tokens, M = label positions, V = vocabulary, S = sequences.
"""

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Many
from contextlib import contextmanager

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from metier.core.progress import Progress, Silent
from metier.core.types import Sequence
from metier.forest.attend import inner_model, packed
from metier.forest.pack import Batch, bins, pack
from metier.model.quiet import LIBRARY_FAULTS

PACKING_TOLERANCE = 1e-3
"""Nats by which a packed label may differ from the same label alone; rounding is a hundred times smaller."""


def logits(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Return the logits float [M, V] that predict each label of a packed batch. Call inside `attend.packed(model)`."""
    output = model(
        input_ids=batch.ids,
        position_ids=batch.positions,
        use_cache=False,
        logits_to_keep=batch.source,
        segments=batch.lengths,
    )
    return output.logits[0]


def losses(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Return -log p in nats, [M], of each label of a packed batch, unweighted."""
    return cross_entropy(at_least_float32(logits(model, batch)), batch.token, reduction="none")


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Return half-precision values as float32, and float64 as it is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def alone(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Return the same as `losses`, each sequence in a call of its own through the model's own attention.

    The fallback for architectures that packing cannot serve, and the other side of the probe that finds them.
    """
    return cross_entropy(at_least_float32(logits_alone(model, batch)), batch.token, reduction="none")


def logits_alone(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Return the same as `logits`, each sequence in a call of its own. Call outside `attend.packed`."""
    ends = torch.tensor(batch.lengths).cumsum(0)
    parts = []
    for end, length in zip(ends.tolist(), batch.lengths, strict=True):
        inside = (batch.source >= end - length) & (batch.source < end)
        keep = batch.source[inside] - (end - length)
        if len(keep):
            ids = batch.ids[:, end - length : end]
            output = model(input_ids=ids, use_cache=False, logits_to_keep=keep)
            parts.append(output.logits[0])
    return torch.cat(parts)


@torch.no_grad()
def packing_error(model: torch.nn.Module, vocabulary: int) -> float:
    """Measure how far packing changes a model's losses: largest difference in nats over three short random sequences.

    A model whose layers carry state from token to token, or that ignores restarting positions, leaks from one sequence
    into the next; it shows here before it can show in training.
    """
    random = np.random.default_rng(0)
    sequences = [
        Sequence(
            ids=random.integers(0, vocabulary, length).astype(np.int32),
            weights=np.array([0.0] + [1.0] * (length - 1), dtype=np.float32),
            row_id=str(length),
        )
        for length in (9, 5, 7)
    ]
    device = next(model.parameters()).device
    batch = pack(sequences).to(device)
    was_training = model.training
    model.eval()
    expected = alone(model, batch)
    try:
        with packed(model):
            difference = (losses(model, batch) - expected).abs().max().item()
    except LIBRARY_FAULTS:
        difference = float("inf")
    model.train(was_training)
    return difference


def packs(model: torch.nn.Module) -> bool:
    """Tell whether this model keeps packed sequences apart."""
    vocabulary = inner_model(model).config.get_text_config(decoder=True).vocab_size
    return packing_error(model, vocabulary) <= PACKING_TOLERANCE


@contextmanager
def reading(model: torch.nn.Module) -> Iterator[Callable[[torch.nn.Module, Batch], torch.Tensor]]:
    """Yield what reads the logits of a batch: packed where this model keeps sequences apart, else one by one."""
    if packs(model):
        with packed(model):
            yield logits
    else:
        yield logits_alone


@torch.no_grad()
def label_logits(
    model: torch.nn.Module, sequences: Many[Sequence], *, micro_batch_tokens: int = 4096
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield (index of the sequence, log-probabilities float32 [M_i, V] at its labels), in no particular order."""
    device = next(model.parameters()).device
    with reading(model) as read:
        for content in bins([len(sequence) for sequence in sequences], micro_batch_tokens):
            batch = pack([sequences[index] for index in content]).to(device)
            logp = torch.log_softmax(read(model, batch).float(), dim=-1)
            for place, index in enumerate(content):
                yield index, logp[batch.sequence == place]


@torch.no_grad()
def row_losses(
    model: torch.nn.Module,
    sequences: Many[Sequence],
    *,
    micro_batch_tokens: int = 4096,
    progress: Progress | None = None,
) -> list[tuple[float, float]]:
    """Return for each sequence its weighted loss in nats and its weight, both sums over its labels."""
    device = next(model.parameters()).device
    results: list[tuple[float, float]] = [(0.0, 0.0)] * len(sequences)
    groups = bins([len(sequence) for sequence in sequences], micro_batch_tokens)
    with reading(model) as read, (progress or Silent()).task("measure loss", len(sequences)) as bar:
        for content in groups:
            batch = pack([sequences[index] for index in content]).to(device)
            nats = cross_entropy(at_least_float32(read(model, batch)), batch.token, reduction="none")
            weighted = (nats * batch.weight).double()
            sums = torch.zeros(len(content), dtype=torch.float64, device=device).index_add_(0, batch.sequence, weighted)
            weights = torch.zeros_like(sums).index_add_(0, batch.sequence, batch.weight.double())
            for place, index in enumerate(content):
                results[index] = (sums[place].item(), weights[place].item())
            bar.advance(len(content))
    return results
