"""The head and the cross-entropy in one, tile by tile of the vocabulary: the logits of all labels never exist at once.

Shapes: Q = places that predict labels, M = labels (a place can predict several), V = vocabulary, E = hidden width.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from metier.model.product import add_product, is_wide, multiply, room

_TILE = {"cpu": 1 << 18, "meta": 1 << 18, "cuda": 1 << 26}
"""Logits that exist at once: on a CPU what its second-level cache holds, on a GPU what keeps it busy (meta: as CPU)."""


_STEP = 64
"""Tiles are so many tokens wide, or twice, thrice …: fewer widths, and fewer kernels for them."""

_KEPT = 1 << 24
"""Logits Q x V that a head that trains keeps for its backward pass (64 MiB in float32); more are computed again."""


class Asked(NamedTuple):
    """What is asked of a head.

    `row` int64 [M], the place of each label, and `token` int64 [M]; `dtype` of the matrix products; `summed`: the
    gradient of the weight, a leaf of that type, is added up where it lies (`model.linear`).
    """

    row: torch.Tensor
    token: torch.Tensor
    dtype: torch.dtype
    summed: bool = False


class HeadLosses(torch.autograd.Function):
    """-log softmax(hidden @ weight.T + bias)[token] at each label.

    With p the softmax at a place and g_j the gradients of its labels: d loss / d logits = p * sum(g) - onehot_j * g_j.
    So the gradient of hidden needs p @ weight only, the mean row of the head under p, which the forward pass gathers
    on its way as attention does with its values (running maximum and sum: Milakov & Gimelshein 2018, algorithm 3).
    A head that trains needs p itself once more, so there the logits are kept as long as they are few.
    """

    @staticmethod
    def forward(
        context: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, asked: Asked
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the losses in nats, [M], at least float32, and bool [M]: no token is likelier than the label.

        Args:
            context: of autograd.
            hidden: [Q, E].
            weight: [V, E].
            bias: [V] or None.
            asked: the labels, and how they are computed.
        """
        row, token, dtype, summed = asked
        wide = torch.promote_types(hidden.dtype, torch.float32)
        states = _roomy(hidden.to(dtype))
        top = hidden.new_full((len(states), 1), -torch.inf, dtype=wide)
        labelled = hidden.new_full((len(row),), -torch.inf, dtype=wide)
        total = torch.zeros_like(top)
        few = len(hidden) * len(weight) <= _KEPT
        keep = context.needs_input_grad[1] and few
        kept: list[torch.Tensor] = []
        gather = context.needs_input_grad[0] and not keep
        mean = torch.zeros_like(states, dtype=wide) if gather else None
        size = _tile_size(states)
        tile, column = token // size, token % size
        for number, (_, part, shift) in enumerate(_tiles(states, weight, bias)):
            logits = _logits(states, part, shift, wide)
            labelled = torch.where(tile == number, _picked(logits, row, column), labelled)
            if keep:
                kept.append(logits)
            higher = torch.maximum(top, logits.amax(dim=1, keepdim=True))
            fade = torch.exp(top - higher)
            shares = torch.sub(logits, higher, out=None if keep else logits).exp_()
            total.mul_(fade).add_(shares.sum(dim=1, keepdim=True))
            if mean is not None:
                mean.mul_(fade)
                add_product(mean, shares.to(dtype), part)
            top = higher
        logsumexp = (top + total.log())[:, 0]
        if mean is not None:
            mean.div_(total)
        picked = (states.to(wide)[row] * weight[token].to(dtype).to(wide)).sum(dim=1)
        if bias is not None:
            picked += bias[token]
        context.save_for_backward(hidden, weight, bias, row, token, logsumexp, mean, *kept)
        context.dtype, context.leaf = dtype, weight if summed and context.needs_input_grad[1] else None
        right = labelled == top[row, 0]
        context.mark_non_differentiable(right)
        return logsumexp[row] - picked, right

    @staticmethod
    def backward(  # pyrefly: ignore
        context: Any, gradient: torch.Tensor, _: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of hidden, weight (unless it is added up where it lies) and bias."""
        hidden, weight, bias, row, token, logsumexp, mean, *kept = context.saved_tensors
        need_hidden, need_weight, need_bias = context.needs_input_grad[:3]
        wide, dtype = logsumexp.dtype, context.dtype
        at_place = torch.zeros_like(logsumexp).index_add_(0, row, gradient)
        states = _roomy(hidden.to(dtype))
        to_hidden = mean * at_place[:, None] if mean is not None else torch.zeros_like(states, dtype=wide)
        to_weight = to_bias = None
        if need_weight or need_bias:
            before = None if context.leaf is None else context.leaf.grad
            to_weight = torch.zeros_like(weight) if need_weight and before is None else before
            to_bias = torch.zeros_like(weight[:, 0])
            for number, (rows, part, shift) in enumerate(_tiles(states, weight, bias)):
                logits = kept[number] if kept else _logits(states, part, shift, wide)
                shares = (logits - logsumexp[:, None]).exp_().mul_(at_place[:, None])
                low = shares.to(dtype)
                if to_weight is not None:
                    add_product(to_weight[rows], low.T, states)
                if need_bias:
                    to_bias[rows] = shares.sum(dim=0)
                if mean is None:
                    add_product(to_hidden, low, part)
            if to_weight is not None:
                to_weight.index_add_(0, token, (hidden[row] * -gradient[:, None]).to(weight.dtype))
            to_bias.index_add_(0, token, -gradient.to(weight.dtype))
            if context.leaf is not None:
                context.leaf.grad, to_weight = to_weight, None
        to_hidden.index_add_(0, row, weight[token].to(wide) * -gradient[:, None])
        return (
            to_hidden[: len(hidden)].to(hidden.dtype) if need_hidden else None,
            to_weight,
            to_bias if need_bias else None,
            None,
        )


def _roomy(states: torch.Tensor) -> torch.Tensor:
    """Return states [Q, E] with as many rows of zeros behind them as products are computed with."""
    spare = room(len(states)) - len(states) if states.device.type == "cpu" and is_wide() else 0
    return torch.nn.functional.pad(states, (0, 0, 0, spare)) if spare else states


def _tile_size(states: torch.Tensor) -> int:
    """Return how many tokens of the vocabulary a tile has."""
    tokens = _TILE.get(states.device.type, _TILE["cuda"]) // max(1, len(states))
    return max(16, tokens // _STEP * _STEP)


def _tiles(
    states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor | None]]:
    """Yield slices of the vocabulary with their rows of the head, so many that their logits fill a tile."""
    size = _tile_size(states)
    for start in range(0, len(weight), size):
        rows = slice(start, min(start + size, len(weight)))
        yield rows, weight[rows].to(states.dtype), None if bias is None else bias[rows]


def _logits(states: torch.Tensor, part: torch.Tensor, shift: torch.Tensor | None, wide: torch.dtype) -> torch.Tensor:
    logits = multiply(states, part).to(wide)
    return logits if shift is None else logits.add_(shift)


def _picked(logits: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """Return a tile's own numbers in some columns, [M]: to the last bit its largest where they are that.

    The last tile may be narrower than the others: a column that it has not stands for a label of another tile.
    """
    width = logits.shape[1]
    return logits.view(-1).index_select(0, row * width + column.clamp(max=width - 1))
