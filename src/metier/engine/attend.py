"""Attention for many answers at once: one new token each for those being written, many for a prompt being read.

Shapes: H = query heads, K = key/value heads, N = tokens of a pass, B = answers with one token, S = slots, T = tokens of
a span, L = places looked at, D = head width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from metier.engine import beginning
from metier.engine.slots import Slots
from metier.forest.attend import inner_model
from metier.forest.plain import Options, default_scale

NAME = "metier_engine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Tokens start..stop-1 of a pass go on in `slot` behind `past` tokens."""

    start: int
    stop: int
    slot: int
    past: int


class Pass:
    """One call of the model: first the answers with a single token, then spans of several.

    Args:
        slots: where keys and values are kept.
        single_slots: int64 [B], the slots of the single tokens, which stand first in the pass.
        single_positions: int64 [B], their positions.
        spans: what stands behind them.
        layers: numbers of the attention layers by their `id`; filled in the first pass.
        shared: tokens with which all answers with a single token begin; each has the same keys there.
    """

    def __init__(
        self,
        slots: Slots,
        single_slots: torch.Tensor,
        *,
        single_positions: torch.Tensor,
        spans: list[Span],
        layers: dict[int, int],
        shared: int = 0,
    ) -> None:
        self._slots = slots
        self._at = (single_slots, single_positions)
        self._spans = spans
        self._layers = layers
        self._shared = shared if beginning.worth(shared, len(single_slots)) and single_slots.device.type == "cpu" else 0
        self._masks: dict[Any, torch.Tensor] = {}
        self._reach = int(single_positions.max()) + 1 if len(single_positions) else 0
        self._top = int(single_slots.max()) + 1 if len(single_slots) else 0
        self._first = int(single_slots[0]) if len(single_slots) else 0
        self._aligned = len(single_slots) == self._top and bool(
            (single_slots == torch.arange(self._top, device=single_slots.device)).all()
        )

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: Options
    ) -> torch.Tensor:
        """Return the output [1, N, H, D] of a layer for queries [1, H, N, D], keys and values [1, K, N, D]."""
        keys, values = self._slots.store[self._layers.setdefault(layer, len(self._layers))]
        count = len(self._at[0])
        parts = []
        if count:
            slots, positions = self._at
            keys[slots, :, positions] = key[0, :, :count].transpose(0, 1)
            values[slots, :, positions] = value[0, :, :count].transpose(0, 1)
            parts.append(self._singles(query[0, :, :count].transpose(0, 1), keys, values, options))
        for span in self._spans:
            end = span.past + span.stop - span.start
            keys[span.slot, :, span.past : end] = key[0, :, span.start : span.stop]
            values[span.slot, :, span.past : end] = value[0, :, span.start : span.stop]
            one = slice(span.slot, span.slot + 1)
            seen = self._span_mask(span, options.window, query.device)
            chosen = query[:, :, span.start : span.stop]
            parts.append(_attention(chosen, keys[one, :, :end], values[one, :, :end], seen, options)[0].transpose(0, 1))
        return torch.cat(parts)[None]

    def _singles(self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, options: Options) -> torch.Tensor:
        """Return [B, H, D] of queries [B, H, D]; the heads of a group stand where queries of several tokens would."""
        slots = self._at[0]
        heads, width = query.shape[1:]
        groups = heads // keys.shape[1]
        if not self._aligned:
            query = query.new_zeros(self._top, heads, width).index_copy_(0, slots, query)
        shaped = query.reshape(self._top, heads // groups, groups, width)
        keys, values = keys[: self._top, :, : self._reach], values[: self._top, :, : self._reach]
        if self._shared and self._sees_all(options):
            one, end = slice(self._first, self._first + 1), self._shared
            before, after = (keys[one, :, :end], values[one, :, :end]), (keys[:, :, end:], values[:, :, end:])
            output = beginning.attend(shaped, before, after, mask=self._own_mask(query.dtype), scale=options.scale)
        else:
            plain = options.softcap is None and options.sinks is None
            seen = self._added(options.window, query.dtype) if plain else self._single_mask(options.window)
            output = _attention(shaped, keys, values, seen, options, groups=groups)
        output = output.reshape(self._top, heads, width)
        return output if self._aligned else output[slots]

    def _sees_all(self, options: Options) -> bool:
        """Tell whether a layer looks at every place, with scores as they are."""
        within = options.window is None or options.window >= self._reach
        return within and options.softcap is None and options.sinks is None

    def _own_mask(self, dtype: torch.dtype) -> torch.Tensor:
        """Return what is added to the scores of the places behind the common beginning, [S, 1, 1, L]."""
        if "own" not in self._masks:
            self._masks["own"] = self._added(None, dtype)[..., self._shared :].contiguous()
        return self._masks["own"]

    def _added(self, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        """Return `_single_mask` as what is added to scores: made once a pass, where a bool is turned in every layer."""
        name = ("added", window)
        if name not in self._masks:
            seen = self._single_mask(window)
            self._masks[name] = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)
        return self._masks[name]

    def _single_mask(self, window: int | None) -> torch.Tensor:
        """Return bool [S, 1, 1, L], who sees whom; an empty slot sees its first place, so that nothing is 0 / 0."""
        name = ("single", window)
        if name not in self._masks:
            slots, positions = self._at
            ends = torch.zeros(self._top, dtype=torch.int64, device=slots.device).index_copy_(0, slots, positions)
            places = torch.arange(self._reach, device=slots.device)[None]
            seen = places <= ends[:, None]
            if window is not None:
                seen &= places > ends[:, None] - window
            self._masks[name] = seen[:, None, None]
        return self._masks[name]

    def _span_mask(self, span: Span, window: int | None, device: torch.device) -> torch.Tensor | None:
        """Return bool [T, L] for a span; None: everything up to the token itself, with nothing before the span."""
        length, end = span.stop - span.start, span.past + span.stop - span.start
        if span.past == 0 and (window is None or window >= end):
            return None
        name = (length, span.past, window)
        if name not in self._masks:
            seen = torch.ones(length, end, dtype=torch.bool, device=device).tril(span.past)
            self._masks[name] = seen if window is None else seen.triu(span.past - window + 1)
        return self._masks[name]


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    seen: torch.Tensor | None,
    options: Options,
    *,
    groups: int = 1,
) -> torch.Tensor:
    """Return attention like `query` [B, H, T, D]; `seen` None: causal. `groups` > 1: T stands for heads of a group."""
    if options.softcap is None and options.sinks is None:
        return scaled_dot_product_attention(
            query, key, value, attn_mask=seen, is_causal=seen is None, scale=options.scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )  # fmt: skip
    repeats = query.shape[1] // key.shape[1]
    key, value = (tensor.repeat_interleave(repeats, dim=1) for tensor in (key, value))
    scores = (query @ key.transpose(-1, -2)).float() * options.scale
    if options.softcap is not None:
        scores = torch.tanh(scores / options.softcap) * options.softcap
    if seen is None:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    scores = scores.masked_fill(~seen, -torch.inf)
    if options.sinks is not None:  # a place that takes weight and gives nothing
        sinks = options.sinks.float()
        shape = (1, query.shape[1], groups, 1) if groups > 1 else (1, -1, 1, 1)
        sink = sinks.reshape(shape).expand(*scores.shape[:-1], 1)
        return torch.softmax(torch.cat([scores, sink], dim=-1), dim=-1)[..., :-1].to(value.dtype) @ value
    return torch.softmax(scores, dim=-1).to(value.dtype) @ value


def engine_attention(  # noqa: PLR0913, PLR0917 - the signature of the library's interface
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention over slots; without a `walk`, over the tokens of the call as one sequence.

    Args:
        module: the attention layer; names its keys and values.
        query: [1, H, N, D].
        key: [1, K, N, D].
        value: [1, K, N, D].
        attention_mask: unused; the pass says who sees whom.
        scaling: of the scores; None: 1 / sqrt(D).
        dropout: unused: nothing is learnt here.
        kwargs: `walk`, a `Pass`; `sliding_window`, `softcap`, `s_aux`.

    Returns:
        [1, N, H, D] and no attention weights.
    """
    options = Options(
        scale=scaling if scaling is not None else default_scale(query.shape[-1]),
        window=kwargs.get("sliding_window"),
        softcap=kwargs.get("softcap"),
        sinks=kwargs.get("s_aux"),
    )
    query, key = query.to(value.dtype), key.to(value.dtype)
    walk = kwargs.get("walk")
    if walk is not None:
        return walk.attend(id(module), query, key, value, options), None
    length, seen = query.shape[2], None
    if key.shape[2] != length:
        raise RuntimeError("a cache of the library's, while the model belongs to an engine")
    if options.window is not None and options.window < length:
        seen = torch.ones(length, length, dtype=torch.bool, device=query.device).tril().triu(1 - options.window)
    return _attention(query, key, value, seen, options).transpose(1, 2), None


@contextmanager
def in_slots(model: torch.nn.Module) -> Iterator[None]:
    """Let a model compute passes inside the block; its own attention is restored afterwards."""
    AttentionInterface.register(NAME, engine_attention)
    AttentionMaskInterface.register(NAME, lambda *args, **kwargs: None)
    inner = inner_model(model)
    before = str(inner.config._attn_implementation)
    inner.set_attn_implementation(NAME)
    try:
        yield
    finally:
        inner.set_attn_implementation(before)
