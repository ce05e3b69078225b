"""Greedy decoding in padded batches, for the models that cannot be written together in slots.

Prompts of similar length are padded on the left and decoded together; padding is masked and positions count real
tokens only, so a row's answer does not depend on its neighbours (in float32, up to rounding in the last bits).
Shapes: B = rows of a batch, T = tokens, V = vocabulary.
"""

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Literal

import psutil
import torch
from transformers import PreTrainedConfig

from metier.core.errors import NonFiniteError
from metier.engine.recall import cache_of, fresh_cache, remembering, text_config
from metier.engine.schedule import plan
from metier.engine.way import fact
from metier.forest.unheard import carries_state

_PLACES_ON_CPU = 1 << 14
_PLACES_ON_GPU = 1 << 17
_CACHE_SHARE_OF_MEMORY = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a model said: the new tokens without the stop token, and why it ended.

    `finish` is "stop" (a stop token) or "length" (the limit of new tokens, or the end of the model's context).
    """

    ids: tuple[int, ...]
    finish: Literal["stop", "length"]


@dataclass(slots=True, kw_only=True)
class _Row:
    """One answer being written: its place among the prompts, the tokens so far, how many it may have."""

    place: int
    limit: int
    ids: list[int]


def padded(
    model: torch.nn.Module,
    prompts: Many[Many[int]],
    *,
    stop_ids: Many[int],
    max_new_tokens: int,
    pad_id: int | None,
) -> Iterator[tuple[int, Completion]]:
    """Yield (index of the prompt, its completion) as they end; no prompt is empty or fills the context."""
    config = text_config(model)
    context = fact(config, "max_position_embeddings")
    limits = [min(max_new_tokens, context - len(prompt)) if context else max_new_tokens for prompt in prompts]
    batches = plan(
        [len(prompt) for prompt in prompts],
        new_tokens=max_new_tokens,
        budget=_places(model, config),
        equal_only=carries_state(config),
    )
    for batch in batches:
        rows = [_Row(place=place, limit=limits[place], ids=[]) for place in batch]
        ids, mask = _padded([prompts[place] for place in batch], pad_id or 0, next(model.parameters()).device)
        for row, completion in _decode(model, ids, mask=mask, rows=rows, take=_ends(frozenset(stop_ids))):
            yield row.place, completion


def _ends(stop: frozenset[int]) -> Callable[[_Row, int], Completion | None]:
    """Return the rule that takes a row's next token and gives its completion once it has ended."""

    def take(row: _Row, token: int) -> Completion | None:
        if token in stop:
            return Completion(ids=tuple(row.ids), finish="stop")
        row.ids.append(token)
        return Completion(ids=tuple(row.ids), finish="length") if len(row.ids) == row.limit else None

    return take


@torch.inference_mode()
def _decode(
    model: torch.nn.Module,
    ids: torch.Tensor,
    *,
    mask: torch.Tensor,
    rows: list[_Row],
    take: Callable[[_Row, int], Completion | None],
) -> Iterator[tuple[_Row, Completion]]:
    """Write the answers of one batch, ids and mask int64 [B, T]; yields each row as it ends.

    Ended rows leave the batch when half of it is gone.
    """
    config = text_config(model)
    last_position = (fact(config, "max_position_embeddings") or 0) - 1
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    cache = fresh_cache(model)
    alive: list[_Row | None] = list(rows)
    while any(row is not None for row in alive):
        output = model(input_ids=ids, position_ids=positions, logits_to_keep=1, **remembering(model, cache, mask))
        cache = cache_of(model, output) if cache is None else cache
        best, tokens = output.logits[:, -1].max(dim=-1)
        if not bool(torch.isfinite(best).all()):
            raise NonFiniteError("logits are not numbers while decoding", "finite weights", "check the model's weights")
        for place, (row, token) in enumerate(zip(alive, tokens.tolist(), strict=True)):
            ended = take(row, token) if row is not None else None
            if row is not None and ended is not None:
                alive[place] = None
                yield row, ended
        keep = [place for place, row in enumerate(alive) if row is not None]
        if 0 < len(keep) <= len(alive) // 2 and not carries_state(config):
            chosen = torch.tensor(keep, device=ids.device)
            cache.batch_select_indices(chosen)
            tokens, mask, positions = tokens[chosen], mask[chosen], positions[chosen]
            alive = [alive[place] for place in keep]
        ids = tokens[:, None]
        mask = torch.cat([mask, mask.new_ones(len(alive), 1)], dim=1)
        positions = positions[:, -1:] + 1
        if last_position > 0:  # a row that has ended but not left must not run off a table of positions
            positions = positions.clamp(max=last_position)


def _padded(prompts: Many[Many[int]], pad_id: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask, int64 [B, T], with shorter prompts moved to the right."""
    width = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), width), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(list(prompt))
        mask[row, width - len(prompt) :] = 1
    return ids.to(device), mask.to(device)


def _places(model: torch.nn.Module, config: PreTrainedConfig) -> int:
    """Return how many places of key/value cache a batch may take: a constant of the machine and the model.

    At most a quarter of the memory; of its total and not of what happens to be free, so that batches are always alike.
    """
    weight = next(model.parameters())
    heads = fact(config, "num_attention_heads") or 1
    width = fact(config, "head_dim") or (fact(config, "hidden_size") or heads) // heads
    pairs = fact(config, "num_key_value_heads") or heads
    place_bytes = 2 * (fact(config, "num_hidden_layers") or 1) * pairs * width * weight.element_size()
    if weight.device.type == "cuda":
        most, memory = _PLACES_ON_GPU, torch.cuda.get_device_properties(weight.device).total_memory
    else:
        most, memory = _PLACES_ON_CPU, psutil.virtual_memory().total
    return int(min(most, _CACHE_SHARE_OF_MEMORY * memory / place_bytes))
