"""What a decoder holds where it would predict a label, and what a head says there.

Shapes: M = label positions of a batch, D = width of the decoder, K = outputs of a head, V = vocabulary.
"""

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Many
from contextlib import contextmanager

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from metier.core.errors import ModelError
from metier.core.types import Sequence
from metier.forest import score
from metier.forest.attend import inner_model, packed
from metier.forest.pack import Batch, bins, pack
from metier.model.head import head_of
from metier.model.quiet import LIBRARY_FAULTS

Reader = Callable[[torch.nn.Module, Batch], torch.Tensor]

_TOLERANCE = 1e-3
"""How far a packed state may be from the same state alone, as a share of its size."""


def states(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Return the decoder's last states [M, D] where the labels are predicted. Call inside `attend.packed(model)`."""
    output = inner_model(model).base_model(
        input_ids=batch.ids, position_ids=batch.positions, use_cache=False, segments=batch.lengths
    )
    return output.last_hidden_state[0, batch.source]


def states_alone(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Return the same as `states`, each sequence in a call of its own. Call outside `attend.packed`."""
    ends = torch.tensor(batch.lengths).cumsum(0)
    parts = []
    for end, length in zip(ends.tolist(), batch.lengths, strict=True):
        inside = (batch.source >= end - length) & (batch.source < end)
        output = inner_model(model).base_model(input_ids=batch.ids[:, end - length : end], use_cache=False)
        parts.append(output.last_hidden_state[0, batch.source[inside] - (end - length)])
    return torch.cat(parts)


def outputs(model: torch.nn.Module, batch: Batch, read: Reader = states) -> torch.Tensor:
    """Return what the model's head says at each label, [M, K], at least in float32."""
    head = head_of(model)
    if head is None:
        raise ModelError(f"{type(inner_model(model)).__name__}: no head", "a model trained with one")
    return score.at_least_float32(head(read(model, batch)))


@contextmanager
def reading(model: torch.nn.Module) -> Iterator[Reader]:
    """Yield what reads the states of a batch: packed where this model keeps sequences apart, else one by one."""
    if packing_error(model) <= _TOLERANCE:
        with packed(model):
            yield states
    else:
        yield states_alone


@torch.no_grad()
def packing_error(model: torch.nn.Module) -> float:
    """Measure how far packing changes the states of three short random sequences, as a share of their size."""
    vocabulary = inner_model(model).config.get_text_config(decoder=True).vocab_size
    random = np.random.default_rng(0)
    sequences = [
        Sequence(
            ids=random.integers(0, vocabulary, length).astype(np.int32),
            weights=np.array([0.0] + [1.0] * (length - 1), dtype=np.float32),
            row_id=str(length),
        )
        for length in (9, 5, 7)
    ]
    batch = pack(sequences).to(next(model.parameters()).device)
    was_training = model.training
    model.eval()
    expected = states_alone(model, batch)
    try:
        with packed(model):
            difference = (states(model, batch) - expected).abs().max() / expected.abs().max()
    except LIBRARY_FAULTS:
        difference = torch.tensor(float("inf"))
    model.train(was_training)
    return difference.item()


@torch.no_grad()
def row_states(
    model: torch.nn.Module, sequences: Many[Sequence], *, through_head: bool, micro_batch_tokens: int = 4096
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield (index of the sequence, its states [M_i, D], or what the head says [M_i, K]), in no particular order."""
    device = next(model.parameters()).device
    with reading(model) as read:
        for content in bins([len(sequence) for sequence in sequences], micro_batch_tokens):
            batch = pack([sequences[index] for index in content]).to(device)
            found = outputs(model, batch, read) if through_head else score.at_least_float32(read(model, batch))
            for place, index in enumerate(content):
                yield index, found[batch.sequence == place]


def label_answers(model: torch.nn.Module, sequences: Many[Sequence]) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield (index of the sequence, log-probabilities of what the model answers at its labels).

    Without a head: over the vocabulary, [M_i, V]. With one: over the classes, [M_i, K]; where every output stands for
    itself (several labels, a number), of each as a yes or no, [M_i · K, 2].
    """
    if head_of(model) is None:
        yield from score.label_logits(model, sequences)
        return
    together = inner_model(model).config.problem_type == "single_label_classification"
    for index, found in row_states(model, sequences, through_head=True):
        if together:
            yield index, torch.log_softmax(found.float(), dim=-1)
        else:
            flat = found.float().reshape(-1)
            yield index, torch.stack([logsigmoid(flat), logsigmoid(-flat)], dim=-1)
