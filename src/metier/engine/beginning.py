"""A beginning that all answers of a pass have in common: its keys are read once for all of them, not once for each.

Writing is bound by memory: sixteen answers behind one system prompt of 512 tokens read sixteen copies of its keys for
every token. Their queries attend to one copy together, each to its own keys alone, and the two outputs are merged by
their log-sum-exp: attention is exactly the same (the identity of `forest.flash`).

Shapes: B = answers, K = key/value heads, G = query heads of a group, P = tokens in common, L = places behind them,
D = head width.
"""

from collections.abc import Sequence

import torch

from metier.engine.prefix import BLOCK
from metier.engine.run import Run

KeysValues = tuple[torch.Tensor, torch.Tensor]

_PLACES, _ANSWERS = 128, 4


def worth(places: int, answers: int) -> bool:
    """Tell whether attention in two parts is faster than in one (docs/log.md)."""
    return places >= _PLACES and answers >= _ANSWERS


def common(runs: Sequence[Run]) -> int:
    """Return with how many computed tokens all of these answers begin, in whole blocks; 0 for less than two answers."""
    if len(runs) <= 1:
        return 0
    most = min(min(len(run.blocks), run.computed // BLOCK) for run in runs)
    first = runs[0].blocks
    count = 0
    while count < most and all(run.blocks[count] == first[count] for run in runs):
        count += 1
    return count * BLOCK


def attend(
    query: torch.Tensor, before: KeysValues, after: KeysValues, *, mask: torch.Tensor, scale: float
) -> torch.Tensor:
    """Return attention [B, K, G, D] of queries [B, K, G, D] to what all share and to what is each one's own.

    Args:
        query: one token of each answer.
        before: keys and values [1, K, P, D] of the common beginning.
        after: keys and values [B, K, L, D] behind it.
        mask: added to the scores of `after`, [B, 1, 1, L]; every answer sees at least its own token.
        scale: of the scores.
    """
    count, heads, groups, width = query.shape
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    together = query.permute(1, 2, 0, 3).reshape(1, heads, groups * count, width)
    shared, shared_weight = flash(together, *before, 0.0, False, scale=scale)
    own, own_weight = flash(query, *after, 0.0, False, attn_mask=mask, scale=scale)
    shared = shared.view(heads, groups, count, width).permute(2, 0, 1, 3)
    shared_weight = shared_weight.view(heads, groups, count).permute(2, 0, 1)
    share = torch.sigmoid(shared_weight - own_weight)[..., None]
    return torch.lerp(own, shared, share.to(own.dtype))
