"""What of a model a trial of short rows may not show: masks that attention is not told of, states, turning angles."""

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedConfig

from metier.forest.attend import inner_model
from metier.model.quiet import LIBRARY_FAULTS

NAME = "metier_listening"

_SHIFTING = {"dynamic", "longrope"}
"""Rotary angles that depend on the longest row of a call."""


class _Listening:
    """Attention that computes nothing, and masks by which it knows again what each layer was handed.

    Args:
        context: tokens of the longest row; None: any number.
    """

    def __init__(self, context: int | None) -> None:
        self.found: list[str] = []
        self._context = context
        self._sizes: list[int | None] = []

    def mask(self, *args: Any, **named: Any) -> torch.Tensor:
        """Return a mask that is full of one number for every size that masks have: how far back a token sees."""
        size = named.get("local_size")
        if size not in self._sizes:
            self._sizes.append(size)
        shape = (named["batch_size"], 1, named["q_length"], named["kv_length"])
        return torch.full(shape, -1.0 - self._sizes.index(size), device=named["device"])

    def attend(
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **named: Any,
    ) -> tuple[torch.Tensor, None]:
        """Return zeros in the shape of an output, and note what the mask says beyond what is told."""
        for number in [] if attention_mask is None else attention_mask.unique().tolist():
            place = -1 - number
            if place not in range(len(self._sizes)):
                self.found.append("a mask of its own")
                continue
            size = self._sizes[int(place)]
            if size is None or size == named.get("sliding_window"):
                continue
            if self._context is None or size < self._context:
                self.found.append(f"a mask of {size:,} tokens that its attention is not told of")
        return query.new_zeros(query.shape[0], query.shape[2], query.shape[1], value.shape[-1]), None


@torch.no_grad()
def unheard(model: torch.nn.Module) -> str:
    """Say what the attention that replaces a model's own would never know, as far as its rows can be long; or "".

    That gets no mask; it knows what it is told. A window that only a mask has would be passed over without a sign in
    any row that is shorter. A state that goes on from token to token passes it by, and says little while it is random.
    """
    inner = inner_model(model)
    config = _text_config(inner)
    if carries_state(config):
        return "a layer carries a state from token to token"
    heard = _Listening(_context(config))
    AttentionInterface.register(NAME, heard.attend)
    AttentionMaskInterface.register(NAME, heard.mask)
    before = str(inner.config._attn_implementation)
    places = torch.arange(2, device=next(inner.parameters()).device)[None]
    try:
        inner.set_attn_implementation(NAME)
        inner(input_ids=torch.zeros_like(places), position_ids=places, use_cache=False)
    except LIBRARY_FAULTS as error:
        return f"its attention cannot be listened to ({type(error).__name__})"
    finally:
        inner.set_attn_implementation(before)
    return next(iter(heard.found), "")


def carries_state(config: PreTrainedConfig) -> bool:
    """Tell whether a layer carries a state from token to token, which no row can leave and padding would enter."""
    return any(DynamicCache(config=config).is_linear)


def steady(model: torch.nn.Module) -> int | None:
    """Return how long the longest row of a call may be without changing the rotary angles; None: as long as it likes.

    Beyond it the angles of every row are others: a row is computed as it is alone only in a call of its own.
    """
    config = _text_config(inner_model(model))
    values = config.to_dict()
    rope = values.get("rope_parameters") or {}
    shifting = [
        entry for entry in (rope, *rope.values()) if isinstance(entry, dict) and entry.get("rope_type") in _SHIFTING
    ]
    if not shifting:
        return None
    return min(int(entry.get("original_max_position_embeddings") or _context(config) or 0) for entry in shifting)


def _text_config(inner: Any) -> PreTrainedConfig:
    return inner.config.get_text_config(decoder=True)


def _context(config: PreTrainedConfig) -> int | None:
    """Return the longest row that a model reads, as far as it says so."""
    found = config.to_dict().get(config.attribute_map.get("max_position_embeddings", "max_position_embeddings"))
    return int(found) if found else None
