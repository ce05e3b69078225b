"""Put sequences side by side without padding, into as few model calls as a token budget allows.

Shapes: N = tokens of one packed batch, M = label positions in it, S = sequences in it.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np
import torch

from metier.core.types import Sequence


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Sequences laid end to end.

    `ids` and `positions` int64 [1, N] (positions restart at each sequence); `lengths` of the S sequences; `source`
    int64 [M] is the place whose output predicts a label, `token` int64 [M] the label, `weight` float32 [M] its weight,
    `sequence` int64 [M] the sequence (0..S-1) it belongs to. `target` float32 [S, K]: what a head is to say for each;
    `partner`: the batch of the same answers behind other prompts.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    lengths: tuple[int, ...]
    source: torch.Tensor
    token: torch.Tensor
    weight: torch.Tensor
    sequence: torch.Tensor
    target: torch.Tensor | None = None
    partner: "Batch | None" = None

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with its tensors on `device`."""
        names = ("ids", "positions", "source", "token", "weight", "sequence")
        return Batch(
            lengths=self.lengths,
            target=None if self.target is None else self.target.to(device),
            partner=None if self.partner is None else self.partner.to(device),
            **{name: value.to(device) for name, value in zip(names, self.tensors(), strict=True)},
        )

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """Return ids, positions, source, token, weight, sequence."""
        return self.ids, self.positions, self.source, self.token, self.weight, self.sequence


def bins(lengths: Many[int], budget: int) -> list[list[int]]:
    """Distribute items over bins of at most `budget` tokens, first-fit decreasing; deterministic.

    Args:
        lengths: tokens of each item. An item longer than the budget gets a bin of its own.
        budget: most tokens in a bin.

    Returns:
        For each bin the indices of its items, in ascending order.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    contents: list[list[int]] = []
    room: list[int] = []
    for index in order:
        place = next((number for number, left in enumerate(room) if left >= lengths[index]), None)
        if place is None:
            contents.append([index])
            room.append(budget - lengths[index])
        else:
            contents[place].append(index)
            room[place] -= lengths[index]
    return [sorted(content) for content in contents]


def pack(sequences: Many[Sequence]) -> Batch:
    """Lay sequences end to end, longest first, so that equal lengths stand together.

    `Batch.sequence` still numbers them as they were given.
    """
    order = sorted(range(len(sequences)), key=lambda index: (-len(sequences[index]), index))
    ids, positions, sources, tokens, weights, owners = [], [], [], [], [], []
    start = 0
    for index in order:
        sequence = sequences[index]
        labels = np.flatnonzero(sequence.weights)
        ids.append(sequence.ids)
        positions.append(np.arange(len(sequence)))
        sources.append(start + labels - 1)
        tokens.append(sequence.ids[labels])
        weights.append(sequence.weights[labels])
        owners.append(np.full(len(labels), index))
        start += len(sequence)
    return Batch(
        ids=_row(ids)[None],
        positions=_row(positions)[None],
        lengths=tuple(len(sequences[index]) for index in order),
        source=_row(sources),
        token=_row(tokens),
        weight=torch.from_numpy(np.concatenate(weights).astype(np.float32)),
        sequence=_row(owners),
        target=_targets(sequences),
        partner=_partners(sequences),
    )


def _targets(sequences: Many[Sequence]) -> torch.Tensor | None:
    """Stack what a head is to say, float32 [S, K]; None unless every sequence has it."""
    found = [sequence.target for sequence in sequences if sequence.target is not None]
    return torch.from_numpy(np.stack(found)) if found and len(found) == len(sequences) else None


def _partners(sequences: Many[Sequence]) -> "Batch | None":
    """Pack the partners; None unless every sequence has one."""
    found = [sequence.partner for sequence in sequences if sequence.partner is not None]
    return pack(found) if found and len(found) == len(sequences) else None


def _row(parts: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(parts).astype(np.int64))
