"""Exact attention over a forest on the CPU, from the library's own flash-attention kernels.

Each piece is one kernel call; pieces that share queries are merged by their log-sum-exp. Going back, every piece's own
backward kernel is called with the merged output and the merged log-sum-exp, which gives each piece its exact share of
the gradient (the identity of blockwise and ring attention: Dao et al. 2022, algorithm 4; Liu et al. 2023).

Shapes: H = query heads, K = key/value heads, N = queries, T = keys, D = head width.
"""

from collections.abc import Sequence as Many
from typing import Any

import torch

from metier.forest.pieces import Piece

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class FlashForest(torch.autograd.Function):
    """Attention of queries [1, H, N, D] over own keys [1, K, T, D] and, where pieces say so, over held ones."""

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917 - autograd functions take their inputs by position
        context: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        held_key: torch.Tensor | None,
        held_value: torch.Tensor | None,
        pieces: Many[Piece],
        scale: float,
    ) -> torch.Tensor:
        """Return the attention output [1, N, H, D]."""
        _, heads, queries, width = query.shape
        output = query.new_empty(1, queries, heads, width)
        weight = torch.empty(
            1, heads, queries, dtype=torch.promote_types(query.dtype, torch.float32), device=query.device
        )
        for piece in pieces:
            keys, values = (held_key, held_value) if piece.held else (key, value)
            assert keys is not None
            assert values is not None
            q, k, v = _sides(piece, query, keys, values)
            out, logsumexp = _forward(q, k, v, 0.0, _causal(piece), attn_mask=_mask(piece, q), scale=scale)
            span = slice(piece.start, piece.stop)
            if piece.own:
                output[:, span] = _joined(out).transpose(1, 2)
                weight[:, :, span] = _joined(logsumexp[..., None])[..., 0]
            else:
                _merge(output[:, span], weight[:, :, span], out.transpose(1, 2), logsumexp)
        context.save_for_backward(query, key, value, held_key, held_value, output, weight)
        context.pieces, context.scale = pieces, scale
        return output

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # pyrefly: ignore
        """Return the gradients of query, key, value and of the held ones."""
        query, key, value, held_key, held_value, output, weight = context.saved_tensors
        own = [torch.empty_like(tensor) for tensor in (query, key, value)]
        held = [torch.zeros_like(tensor) if tensor is not None else None for tensor in (held_key, held_value)]
        if _labels_only(context.pieces):  # not every key is met by an own piece
            own[1].zero_()
            own[2].zero_()
        gradient, output = gradient.transpose(1, 2), output.transpose(1, 2)
        for piece in context.pieces:
            keys, values = (held_key, held_value) if piece.held else (key, value)
            q, k, v = _sides(piece, query, keys, values)
            g, out = (_split(tensor[:, :, piece.start : piece.stop], piece.count) for tensor in (gradient, output))
            logsumexp = _split(weight[:, :, piece.start : piece.stop, None], piece.count)[..., 0]
            parts = _backward(
                g, q, k, v, out, logsumexp.contiguous(), 0.0, _causal(piece), attn_mask=_mask(piece, q),
                scale=context.scale,
            )  # fmt: skip
            targets = (own[0], held[0], held[1]) if piece.held else own
            _add(piece, targets, parts)
        return *own, *held, None, None


def _sides(piece: Piece, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Cut a piece's queries [C, H, n, D] and keys and values [C, K, t, D] out; C nodes of equal length side by side."""
    keys = slice(piece.key_start, piece.key_stop)
    cut = (query[:, :, piece.start : piece.stop], key[:, :, keys], value[:, :, keys])
    return tuple(_split(tensor, piece.count) for tensor in cut)


def _split(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """[1, H, C * n, D] -> [C, H, n, D], without a copy."""
    if count == 1:
        return tensor
    return tensor.unflatten(2, (count, tensor.shape[2] // count))[0].transpose(0, 1)


def _joined(tensor: torch.Tensor) -> torch.Tensor:
    """[C, H, n, D] -> [1, H, C * n, D]."""
    return tensor if tensor.shape[0] == 1 else tensor.transpose(0, 1).flatten(1, 2)[None]


def _causal(piece: Piece) -> bool:
    return piece.own and piece.places is None


def _mask(piece: Piece, query: torch.Tensor) -> torch.Tensor | None:
    """Return what queries at chosen places must not see, as an additive mask [n, t]; None: the kernel knows."""
    if piece.places is None:
        return None
    places = torch.tensor(piece.places, device=query.device)
    keys = torch.arange(piece.key_start, piece.key_stop, device=query.device)
    mask = query.new_zeros(len(piece.places), len(keys))
    return mask.masked_fill_(keys[None, :] > places[:, None], float("-inf"))


def _merge(output: torch.Tensor, weight: torch.Tensor, other: torch.Tensor, other_weight: torch.Tensor) -> None:
    """Fold another piece's output [1, n, H, D] and log-sum-exp [1, H, n] into those of the same queries, in place."""
    total = torch.logaddexp(weight, other_weight)
    share = torch.exp(other_weight - total).transpose(1, 2)[..., None].to(output.dtype)
    output.lerp_(other, share)
    weight.copy_(total)


def _add(piece: Piece, targets: Many[torch.Tensor | None], parts: Many[torch.Tensor]) -> None:
    """Put a piece's gradients where they belong; the own piece of whole nodes comes first and meets every place."""
    spans = (slice(piece.start, piece.stop), *[slice(piece.key_start, piece.key_stop)] * 2)
    for number, (target, span, part) in enumerate(zip(targets, spans, parts, strict=True)):
        assert target is not None
        place = target[:, :, span]
        first = piece.own and (number == 0 or piece.places is None)
        place.copy_(_joined(part)) if first else place.add_(_joined(part))


def _labels_only(pieces: Many[Piece]) -> bool:
    return any(piece.places is not None for piece in pieces)
