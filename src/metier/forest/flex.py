"""Attention over a forest on a GPU: one FlexAttention call a layer, with a block mask made once a forest.

Who sees whom is two numbers per key: the queries it shows itself to are those at places low[key]..high[key]-1. For a
key of the forest these are its own place and all beneath its node; for one of the trunk, all that hangs from its node.

Shapes: H = query heads, K = key/value heads, N = queries, T = keys (those of the trunk first), D = head width.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, create_block_mask, flex_attention

from metier.forest.forest import Forest
from metier.forest.plain import Options


class Sight:
    """Who sees whom in a forest, as block masks for each kind of layer, each made when first asked for.

    Args:
        forest: with its tensors on the device.
    """

    def __init__(self, forest: Forest) -> None:
        device = forest.ids.device
        low = torch.arange(forest.tokens, device=device)
        high = torch.empty_like(low)
        for node in forest.nodes:
            high[node.start : node.stop] = node.end
        positions = forest.positions[0]
        if forest.trunk is not None:
            first, last = torch.zeros(2, forest.trunk.tokens, dtype=torch.int64)
            for piece in forest.pieces:
                if piece.held:
                    first[piece.key_start : piece.key_stop] = piece.start
                    last[piece.key_start : piece.key_stop] = piece.stop
            low, high = torch.cat([first.to(device), low]), torch.cat([last.to(device), high])
            positions = torch.cat([forest.trunk.positions.to(device), positions])
        self.forest = forest
        self.low, self.high, self.key_positions = low, high, positions
        self._masks: dict[tuple[bool, int | None], BlockMask] = {}

    def mask(self, *, at_labels: bool, window: int | None) -> BlockMask:
        """Return the mask for queries at every place or at labels only, in a sliding window or without one."""
        key = (at_labels, window)
        if key not in self._masks:
            places = self.forest.source if at_labels else torch.arange(self.forest.tokens, device=self.low.device)
            self._masks[key] = create_block_mask(
                self._rule(places, window), None, None, len(places), len(self.low), device=str(self.low.device)
            )
        return self._masks[key]

    def _rule(self, places: torch.Tensor, window: int | None) -> Callable[..., torch.Tensor]:
        low, high, key_positions = self.low, self.high, self.key_positions
        positions = self.forest.positions[0][places]

        def seen(batch: Any, head: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
            place = places[query]
            visible = (low[key] <= place) & (place < high[key])
            if window is not None:
                visible &= positions[query] - key_positions[key] < window
            return visible

        return seen


def attend_flexibly(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: BlockMask, options: Options
) -> torch.Tensor:
    """Return the attention output [1, N, H, D] of queries [1, H, N, D] over all keys and values [1, K, T, D]."""
    softcap = options.softcap

    def capped(score: torch.Tensor, *_: Any) -> torch.Tensor:
        assert softcap is not None
        return torch.tanh(score / softcap) * softcap

    output, aux = _kernel(query.device.type)(
        query, key, value,
        score_mod=capped if softcap is not None else None,
        block_mask=mask,
        scale=options.scale,
        enable_gqa=query.shape[1] != key.shape[1],
        return_aux=AuxRequest(lse=True),
    )  # fmt: skip
    if options.sinks is not None:
        kept = torch.sigmoid(aux.lse - options.sinks.to(aux.lse.dtype)[None, :, None])
        output = output * kept[..., None].to(output.dtype)
    return output.transpose(1, 2).contiguous()


@cache
def _kernel(device: str) -> Callable[..., Any]:
    """Compile once for all lengths: a kernel for each new length would cost seconds."""
    return torch.compile(flex_attention, dynamic=True) if device == "cuda" else flex_attention
