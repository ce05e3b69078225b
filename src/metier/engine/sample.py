"""Greedy decoding: prompts in, completions out. B = rows of a batch, T = tokens, V = vocabulary.

Prompts of similar length are padded on the left and decoded together; padding is masked and positions count real
tokens only, so a row's answer does not depend on its neighbours (in float32, up to rounding in the last bits).
"""

import time
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Literal

import psutil
import torch
from transformers import DynamicCache, PreTrainedConfig

from metier.core.errors import DataError, NonFiniteError
from metier.core.progress import Progress
from metier.engine.schedule import plan

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


def complete(
    model: torch.nn.Module,
    prompts: Many[Many[int]],
    *,
    stop_ids: Many[int],
    max_new_tokens: int,
    pad_id: int | None,
    progress: Progress,
) -> list[Completion]:
    """Continue every prompt with the likeliest token, again and again, until a stop token or the limit.

    Args:
        model: a causal language model of `transformers`, in evaluation mode.
        prompts: token ids, at least one each. A prompt that already fills the context gets an empty answer.
        stop_ids: tokens that end an answer.
        max_new_tokens: most tokens of an answer.
        pad_id: any token for the places before a shorter prompt; never seen. None: 0.
        progress: told of every finished answer.

    Returns:
        One completion for each prompt, in the order of the prompts.

    Raises:
        DataError: a prompt is empty.
        NonFiniteError: the model's logits are not numbers.
    """
    if not len(prompts):
        return []
    empty = next((place for place, prompt in enumerate(prompts) if not len(prompt)), None)
    if empty is not None:
        raise DataError(f"prompt {empty} has no token", "at least one token to continue")
    config = _config(model)
    context = _context(config)
    limits = [min(max_new_tokens, context - len(prompt)) if context else max_new_tokens for prompt in prompts]
    results = [Completion(ids=(), finish="length")] * len(prompts)
    asked = [place for place, limit in enumerate(limits) if limit > 0]
    batches = plan(
        [len(prompts[place]) for place in asked],
        new_tokens=max_new_tokens,
        budget=_places(model, config),
        equal_only=_recurrent(config),
    )
    stop, written, start = frozenset(stop_ids), 0, time.monotonic()
    with progress.task("answer", len(prompts)) as bar:
        bar.advance(len(prompts) - len(asked))
        for batch in batches:
            places = [asked[index] for index in batch]
            rows = [_Row(place=place, limit=limits[place], ids=[]) for place in places]
            ids, mask = _padded([prompts[place] for place in places], pad_id or 0, next(model.parameters()).device)
            for row, completion in _decode(model, ids, mask=mask, rows=rows, take=_ends(stop)):
                results[row.place] = completion
                written += len(completion.ids)
                bar.advance(1, {"tokens/s": written / max(time.monotonic() - start, 1e-9)})
    return results


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
    config = _config(model)
    last_position = (_context(config) or 0) - 1
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    cache = DynamicCache(config=config)
    alive: list[_Row | None] = list(rows)
    while any(row is not None for row in alive):
        output = model(
            input_ids=ids, attention_mask=mask, position_ids=positions,
            past_key_values=cache, use_cache=True, logits_to_keep=1,
        )  # fmt: skip
        best, tokens = output.logits[:, -1].max(dim=-1)
        if not bool(torch.isfinite(best).all()):
            raise NonFiniteError("logits are not numbers while decoding", "finite weights", "check the model's weights")
        for place, (row, token) in enumerate(zip(alive, tokens.tolist(), strict=True)):
            ended = take(row, token) if row is not None else None
            if row is not None and ended is not None:
                alive[place] = None
                yield row, ended
        keep = [place for place, row in enumerate(alive) if row is not None]
        if 0 < len(keep) <= len(alive) // 2 and not _recurrent(config):
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


def _config(model: torch.nn.Module) -> PreTrainedConfig:
    config = model.config
    assert isinstance(config, PreTrainedConfig)
    return config.get_text_config(decoder=True)


def _fact(config: PreTrainedConfig, name: str) -> int | None:
    """Return a number of the configuration by its usual name, also where the architecture has its own for it."""
    value = config.to_dict().get(config.attribute_map.get(name, name))
    return int(value) if value else None


def _context(config: PreTrainedConfig) -> int | None:
    """Return the number of positions the model has, or None where it names none."""
    return _fact(config, "max_position_embeddings")


def _recurrent(config: PreTrainedConfig) -> bool:
    """Tell whether a layer carries a state from token to token: padding would enter it, and no row can leave it."""
    return any(DynamicCache(config=config).is_linear)


def _places(model: torch.nn.Module, config: PreTrainedConfig) -> int:
    """Return how many places of key/value cache a batch may take: a constant of the machine and the model.

    At most a quarter of the memory; of its total and not of what happens to be free, so that batches are always alike.
    """
    weight = next(model.parameters())
    heads = _fact(config, "num_attention_heads") or 1
    width = _fact(config, "head_dim") or (_fact(config, "hidden_size") or heads) // heads
    pairs = _fact(config, "num_key_value_heads") or heads
    place_bytes = 2 * (_fact(config, "num_hidden_layers") or 1) * pairs * width * weight.element_size()
    if weight.device.type == "cuda":
        most, memory = _PLACES_ON_GPU, torch.cuda.get_device_properties(weight.device).total_memory
    else:
        most, memory = _PLACES_ON_CPU, psutil.virtual_memory().total
    return int(min(most, _CACHE_SHARE_OF_MEMORY * memory / place_bytes))
