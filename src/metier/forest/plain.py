"""Attention over a forest in plain tensor operations: any device, windows, capped scores, sinks, dropout.

Slower than the kernels and differentiated by the library; the reference for `forest.flash`, and the way for whatever no
fused kernel offers.

Shapes: H = query heads, K = key/value heads, N = queries, T = keys, D = head width.
"""

import math
from collections.abc import Sequence as Many
from dataclasses import dataclass

import torch

from metier.forest.pieces import Piece

_UNSEEN = -1e30
"""Score of a key that may not be seen; finite, so that a query that sees none of a piece gives no NaN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a layer asks of its attention: scale of the scores, dropout, sliding window (tokens), cap, sinks [H]."""

    scale: float
    dropout: float = 0.0
    window: int | None = None
    softcap: float | None = None
    sinks: torch.Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Keys and values [1, K, T, D] and the positions int64 [T] of their tokens."""

    key: torch.Tensor
    value: torch.Tensor
    positions: torch.Tensor


def attend_plainly(
    query: torch.Tensor, positions: torch.Tensor, own: Keys, held: Keys | None, pieces: Many[Piece], *, options: Options
) -> torch.Tensor:
    """Return the attention output [1, N, H, D] of queries [1, H, N, D] at `positions` int64 [N]."""
    own_pieces = [alone for piece in pieces if piece.own for alone in _apart(piece)]
    first = [_piece(query, positions, own, piece, options) for piece in own_pieces]
    outputs, weights = (torch.cat(parts, dim=2) for parts in zip(*first, strict=True))
    for piece in pieces:
        if piece.own:
            continue
        keys = held if piece.held else own
        assert keys is not None
        out, weight = _piece(query, positions, keys, piece, options)
        span = slice(piece.start, piece.stop)
        total = torch.logaddexp(weights[:, :, span], weight)
        share = torch.exp(weight - total)[..., None].to(out.dtype)
        merged = outputs[:, :, span] * (1 - share) + out * share
        outputs = torch.cat([outputs[:, :, : piece.start], merged, outputs[:, :, piece.stop :]], dim=2)
        weights = torch.cat([weights[:, :, : piece.start], total, weights[:, :, piece.stop :]], dim=2)
    if options.sinks is not None:
        kept = torch.sigmoid(weights - options.sinks.to(weights.dtype)[None, :, None])
        outputs = outputs * kept[..., None].to(outputs.dtype)
    return outputs.transpose(1, 2).contiguous()  # as the library's own lies in memory: some models view it as a matrix


def _apart(piece: Piece) -> list[Piece]:
    """Take nodes of equal length that stand side by side apart."""
    length = (piece.stop - piece.start) // piece.count
    starts = [piece.start + number * length for number in range(piece.count)]
    if piece.count == 1:
        return [piece]
    return [Piece(start=s, stop=s + length, key_start=s, key_stop=s + length, own=True) for s in starts]


def _piece(
    query: torch.Tensor, positions: torch.Tensor, keys: Keys, piece: Piece, options: Options
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return output [1, H, n, D] and log-sum-exp [1, H, n] of one piece."""
    q = query[:, :, piece.start : piece.stop]
    repeats = query.shape[1] // keys.key.shape[1]
    k, v = (
        tensor[:, :, piece.key_start : piece.key_stop].repeat_interleave(repeats, dim=1)
        for tensor in (keys.key, keys.value)
    )
    scores = (q @ k.transpose(-1, -2)) * options.scale
    if options.softcap is not None:
        scores = torch.tanh(scores / options.softcap) * options.softcap
    seen = _seen(positions, keys.positions, piece, options.window)
    if seen is not None:
        scores = scores.masked_fill(~seen, _UNSEEN)
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    logsumexp = torch.logsumexp(scores, dim=-1)
    weights = torch.exp(scores - logsumexp[..., None]).to(q.dtype)
    return torch.dropout(weights, options.dropout, options.dropout > 0) @ v, logsumexp


def _seen(
    positions: torch.Tensor, key_positions: torch.Tensor, piece: Piece, window: int | None
) -> torch.Tensor | None:
    """Return bool [n, t], who sees whom; None: everybody everything."""
    if not piece.own and window is None:
        return None
    device = positions.device
    keys = torch.arange(piece.key_start, piece.key_stop, device=device)
    seen = torch.ones(piece.stop - piece.start, len(keys), dtype=torch.bool, device=device)
    if piece.own:
        places = torch.arange(piece.start, piece.stop, device=device)
        if piece.places is not None:
            places = torch.tensor(piece.places, device=device)
        seen &= keys[None, :] <= places[:, None]
    if window is not None:
        distance = positions[piece.start : piece.stop, None] - key_positions[None, piece.key_start : piece.key_stop]
        seen &= distance < window
    return seen


def default_scale(width: int) -> float:
    """1 / sqrt(D), as in Vaswani et al. 2017, equation 1."""
    return 1 / math.sqrt(width)
