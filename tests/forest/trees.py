"""Rows that share beginnings at several levels, and the plain step that a forest must equal."""

import numpy as np
import torch

from metier.core.types import Sequence
from tests.forest.architectures import VOCABULARY


def tree_rows(seed: int, *, depth: int = 3, fan: int = 2, longest: int = 24) -> list[Sequence]:
    """Draw rows as the leaves of a random tree; labels anywhere, also on shared tokens and at branch points.

    The last row has one token, so that nothing can be learnt of it.
    """
    random = np.random.default_rng(seed)
    paths: list[list[int]] = [[]]
    for level in range(depth):
        width = random.integers(1, fan + 1) if level else 1
        paths = [
            [*path, *random.integers(3, VOCABULARY, random.integers(0, longest)).tolist()]
            for path in paths
            for _ in range(width + 1)
        ]
    rows = []
    for number, path in enumerate(paths):
        ids = np.array([1, *path, int(random.integers(3, VOCABULARY))], dtype=np.int32)
        weights = (random.random(len(ids)) < 0.4).astype(np.float32) * random.choice([0.5, 1.0, 2.0], len(ids))
        weights[0], weights[-1] = 0, 1
        rows.append(Sequence(ids=ids, weights=weights.astype(np.float32), row_id=str(number)))
    alone = Sequence(ids=np.array([1], np.int32), weights=np.zeros(1, np.float32), row_id=str(len(rows)))
    return [*rows, alone]


def prompt_rows(answers: tuple[int, ...], *, prompt: int = 40, seed: int = 0) -> list[Sequence]:
    """Draw rows with one prompt before all answers; labels on the answers only."""
    random = np.random.default_rng(seed)
    shared = random.integers(3, VOCABULARY, prompt)
    rows = []
    for number, length in enumerate(answers):
        ids = np.concatenate([shared, random.integers(3, VOCABULARY, length)]).astype(np.int32)
        weights = np.zeros(len(ids), dtype=np.float32)
        weights[prompt:] = 1
        rows.append(Sequence(ids=ids, weights=weights, row_id=str(number)))
    return rows


def padded_loss(model: torch.nn.Module, rows: list[Sequence]) -> torch.Tensor:
    """The plain step: one padded batch through the model's own attention, all logits, shifted labels."""
    longest = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    weights = torch.zeros(len(rows), longest, dtype=torch.float64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.from_numpy(row.ids.astype(np.int64))
        weights[place, : len(row)] = torch.from_numpy(row.weights.astype(np.float64))
    # padding stands behind every row, where causal attention never looks; a mask of it makes Gemma's windows NaN
    logits = model(input_ids=ids, use_cache=False).logits.double()
    logp = torch.log_softmax(logits[:, :-1], dim=-1).gather(2, ids[:, 1:, None])[..., 0]
    return -(logp * weights[:, 1:]).sum()


def gradients(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([w.grad.flatten().double() for w in model.parameters() if w.grad is not None])
