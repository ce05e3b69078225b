"""Attention over packed sequences: each sees itself and nothing else; registered through the public interface.

Shapes: H = query heads, K = key/value heads, N = packed tokens, D = head width, L = length of one sequence.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

NAME = "metier_packed"


def packed_attention(  # noqa: PLR0913, PLR0917 - the signature of the library's interface
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each packed sequence.

    Args:
        module: the attention layer; unused.
        query: [1, H, N, D].
        key: [1, K, N, D].
        value: [1, K, N, D].
        attention_mask: unused; the lengths say who sees whom.
        scaling: of the scores; None: 1 / sqrt(D).
        dropout: share of attention weights zeroed.
        kwargs: `segments`, the lengths of the sequences (missing: one sequence); `sliding_window`, `softcap`.

    Returns:
        [1, N, H, D] and no attention weights.
    """
    lengths = kwargs.get("segments") or (query.shape[2],)
    options = {"scale": scaling, "dropout_p": dropout}
    window, softcap = kwargs.get("sliding_window"), kwargs.get("softcap")
    outputs = []
    start = 0
    for length, run in groupby(lengths):
        count = len(list(run))
        parts = [_split(tensor[:, :, start : start + count * length], count) for tensor in (query, key, value)]
        if softcap is not None:
            output = _softcapped(*parts, softcap=softcap, window=window, options=options)
        elif window is not None and length > window:
            output = scaled_dot_product_attention(
                *_same_heads(*parts), attn_mask=_band(length, window, query.device), **options
            )
        else:
            grouped = parts[0].shape[1] != parts[1].shape[1]
            output = scaled_dot_product_attention(*parts, is_causal=length > 1, enable_gqa=grouped, **options)
        outputs.append(output.transpose(1, 2).reshape(1, count * length, *output.shape[1:2], output.shape[-1]))
        start += count * length
    return torch.cat(outputs, dim=1), None


def _split(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """[1, H, count * L, D] -> [count, H, L, D]."""
    _, heads, tokens, width = tensor.shape
    return tensor.view(heads, count, tokens // count, width).transpose(0, 1) if count > 1 else tensor


def _same_heads(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, ...]:
    repeats = query.shape[1] // key.shape[1]
    return query, key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)


def _band(length: int, window: int | None, device: torch.device) -> torch.Tensor:
    """Bool [L, L]: who sees whom, causal and at most `window` back."""
    place = torch.arange(length, device=device)
    distance = place[:, None] - place[None, :]
    return (distance >= 0) & (distance < (window or length))


def _softcapped(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    softcap: float,
    window: int | None,
    options: dict[str, Any],
) -> torch.Tensor:
    """Attention with scores capped by softcap * tanh(score / softcap), which no fused kernel here has."""
    query, key, value = _same_heads(query, key, value)
    scale = options["scale"] if options["scale"] is not None else 1 / math.sqrt(query.shape[-1])
    scores = torch.tanh(query @ key.transpose(-1, -2) * scale / softcap) * softcap
    scores = scores.masked_fill(~_band(query.shape[2], window, query.device), -math.inf)
    weights = torch.softmax(scores.float(), dim=-1).to(query.dtype)
    return torch.dropout(weights, options["dropout_p"], options["dropout_p"] > 0) @ value


@contextmanager
def packed(model: torch.nn.Module) -> Iterator[None]:
    """Let a model run packed batches inside the block; its own attention is restored afterwards."""
    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, lambda *args, **kwargs: None)
    inner = inner_model(model)
    before = str(inner.config._attn_implementation)
    inner.set_attn_implementation(NAME)
    try:
        yield
    finally:
        inner.set_attn_implementation(before)


@contextmanager
def as_it_is(model: torch.nn.Module) -> Iterator[None]:
    """Let a model keep its own attention: for architectures that packing cannot serve."""
    yield


def inner_model(model: torch.nn.Module) -> PreTrainedModel:
    """Return the transformers model inside an adapter's wrapper, or the model itself."""
    inner = model if isinstance(model, PreTrainedModel) else model.get_base_model()  # pyrefly: ignore
    assert isinstance(inner, PreTrainedModel)
    return inner
