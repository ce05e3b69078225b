"""How a model is stepped: many answers in slots where that is exact, tried before it is used; else one by one.

Shapes: N = tokens of a pass, V = vocabulary, M = logits wanted.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from transformers import Cache, PreTrainedConfig

from metier.core.memory import memory_limit
from metier.engine.attend import Pass, Span
from metier.engine.mixture import Adapter, Mixture
from metier.engine.recall import cache_of, fresh_cache, remembering, text_config
from metier.engine.slots import Shape, Slots
from metier.forest.attend import inner_model
from metier.forest.plain import Options
from metier.forest.unheard import steady, unheard
from metier.forest.way import TOLERANCE
from metier.model.quiet import LIBRARY_FAULTS, quiet
from metier.model.ways.virtual import Virtual

_PLACES = {"cpu": 1 << 16, "cuda": 1 << 19}
_CACHE_SHARE_OF_MEMORY = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The next `ids` of one answer, behind `past` tokens in `slot`; logits are wanted of its last `wanted` places."""

    slot: int
    past: int
    ids: Sequence[int]
    wanted: int
    adapter: Adapter | None = None


class Way(Protocol):
    """Computes parts of several answers together."""

    reason: str

    def logits(self, parts: Sequence[Part], shared: int = 0) -> list[torch.Tensor]:
        """Return for each part the logits [wanted, V]; parts of one token come first; `shared` tokens begin each."""

    def take(self, places: int) -> int:
        """Take a slot for an answer of so many tokens."""

    def free(self, slot: int) -> None:
        """Give it back."""

    def fits(self, places: int) -> bool:
        """Tell whether there is room now."""

    def possible(self, places: int) -> bool:
        """Tell whether there is room when nobody else is there."""


def fact(config: PreTrainedConfig, name: str) -> int | None:
    """Return a number of the configuration by its usual name, also where the architecture has its own for it."""
    value = config.to_dict().get(config.attribute_map.get(name, name))
    return int(value) if value else None


class Together:
    """All answers in one pass, their keys in slots. Call inside `in_slots(model)`."""

    reason = "answers are written together"

    def __init__(self, model: torch.nn.Module, slots: Slots, mixture: Mixture) -> None:
        self._model = model
        self._mixture = mixture
        self.slots = slots
        self._layers: dict[int, int] = {}

    def logits(self, parts: Sequence[Part], shared: int = 0) -> list[torch.Tensor]:
        """Return for each part the logits [wanted, V]; parts of one token come first; `shared` tokens begin each."""
        device = self.slots.shape.device
        singles = [part for part in parts if len(part.ids) == 1]
        self.slots.reach(max(part.past + len(part.ids) for part in parts))
        ids, positions, keep, spans = [], [], [], []
        for part in parts:
            start, stop = len(ids), len(ids) + len(part.ids)
            ids += part.ids
            positions += range(part.past, part.past + len(part.ids))
            keep += range(stop - part.wanted, stop)
            if len(part.ids) > 1:
                spans.append(Span(start=start, stop=stop, slot=part.slot, past=part.past))
        self._mixture.assign([part.adapter for part in parts for _ in part.ids], device)
        walk = Pass(
            self.slots,
            torch.tensor([part.slot for part in singles], dtype=torch.int64, device=device),
            single_positions=torch.tensor([part.past for part in singles], dtype=torch.int64, device=device),
            spans=spans,
            layers=self._layers,
            shared=shared,
        )
        output = self._model(
            input_ids=torch.tensor([ids], device=device),
            position_ids=torch.tensor([positions], device=device),
            use_cache=False,
            logits_to_keep=torch.tensor(keep or [0], device=device),
            walk=walk,
        ).logits[0]
        return list(output.split([part.wanted for part in parts])) if keep else [output[:0]] * len(parts)

    def take(self, places: int) -> int:
        """Take a slot."""
        return self.slots.take(places)

    def free(self, slot: int) -> None:
        """Give a slot back."""
        self.slots.free(slot)

    def fits(self, places: int) -> bool:
        """Tell whether there is room now."""
        return self.slots.fits(places)

    def possible(self, places: int) -> bool:
        """Tell whether there is room when nobody else is there."""
        return self.slots.possible(places)


class Alone:
    """Each answer in calls of its own, with the library's own cache: right for every model, and slow."""

    def __init__(self, model: torch.nn.Module, most: int, *, mixture: Mixture, reason: str) -> None:
        self._model = model
        self._mixture = mixture
        self._most = most
        self._caches: dict[int, Cache | None] = {}
        self.reason = f"answers are written one by one: {reason}"

    def logits(self, parts: Sequence[Part], shared: int = 0) -> list[torch.Tensor]:
        """Return for each part the logits [wanted, V]; what is shared is computed for each."""
        return [self._one(part) for part in parts]

    def _one(self, part: Part) -> torch.Tensor:
        device = next(self._model.parameters()).device
        self._mixture.assign([part.adapter] * len(part.ids), device)
        mask = torch.ones(1, part.past + len(part.ids), dtype=torch.int64, device=device)
        output = self._model(
            input_ids=torch.tensor([list(part.ids)], device=device),
            position_ids=torch.arange(part.past, part.past + len(part.ids), device=device)[None],
            logits_to_keep=max(1, part.wanted),
            **remembering(self._model, self._caches[part.slot], mask),
        )
        cache = self._caches[part.slot]
        self._caches[part.slot] = cache_of(self._model, output) if cache is None else cache
        return output.logits[0][: part.wanted]

    def take(self, places: int) -> int:
        """Take a slot."""
        slot = next(number for number in range(self._most) if number not in self._caches)
        self._caches[slot] = fresh_cache(self._model)
        return slot

    def free(self, slot: int) -> None:
        """Give a slot back."""
        del self._caches[slot]

    def fits(self, places: int) -> bool:
        """Tell whether there is room now."""
        return len(self._caches) < self._most

    def possible(self, places: int) -> bool:
        """Tell whether there is ever room."""
        return True


class _Shapes:
    """Stands where a pass would, and notes what each layer brings."""

    def __init__(self) -> None:
        self.seen: dict[int, tuple[int, int]] = {}
        self.dtype = torch.float32

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: Options
    ) -> torch.Tensor:
        """Return the queries, in the shape of an output."""
        if key.shape != value.shape:
            raise ValueError("keys and values of different widths")
        self.seen[layer] = (key.shape[1], key.shape[3])
        self.dtype = key.dtype
        return query.transpose(1, 2)


@torch.inference_mode()
def shape_of(model: torch.nn.Module) -> Shape | str:
    """Return the shape of a model's keys, or say why there is none for slots. Call inside `in_slots(model)`."""
    config = text_config(model)
    if steady(model) is not None:  # a neighbour would change them
        return "its rotary angles depend on the longest row of a call"
    if reason := unheard(model):
        return reason
    shapes, device = _Shapes(), next(model.parameters()).device
    ids = torch.zeros(1, 2, dtype=torch.int64, device=device)
    try:
        model(input_ids=ids, position_ids=torch.arange(2, device=device)[None], use_cache=False, walk=shapes)
    except LIBRARY_FAULTS as error:
        return f"its attention is its own ({type(error).__name__})"
    found = set(shapes.seen.values())
    if len(shapes.seen) != fact(config, "num_hidden_layers") or len(found) != 1:
        return "its layers do not keep keys alike"
    heads, width = found.pop()
    return Shape(layers=len(shapes.seen), heads=heads, width=width, dtype=shapes.dtype, device=device)


@torch.inference_mode()
def together(model: torch.nn.Module, *, most: int, mixture: Mixture) -> Together | str:
    """Return the way to write answers together, or say why this model cannot. Call inside `in_slots(model)`."""
    if isinstance(model, Virtual):
        return "learnt tokens stand in front of every row"
    shape = shape_of(model)
    if isinstance(shape, str):
        return shape
    try:
        error = _error(model, shape)
    except LIBRARY_FAULTS as fault:
        return f"a trial failed ({type(fault).__name__}: {str(fault)[:80]})"
    if not error <= TOLERANCE:
        return f"together and alone differ by {error:.1e} nats on this model"
    return Together(model, Slots(shape, most, _places(shape)), mixture)


def _places(shape: Shape) -> int:
    """Return how many places of keys and values there may be: a constant of the machine and the model."""
    on_gpu = shape.device.type == "cuda"
    total = torch.cuda.get_device_properties(shape.device).total_memory if on_gpu else memory_limit()
    return int(min(_PLACES["cuda" if on_gpu else "cpu"], _CACHE_SHARE_OF_MEMORY * total / shape.place_bytes))


def _error(model: torch.nn.Module, shape: Shape) -> float:
    """Return the largest difference in nats between two crowded answers and the model's own pass over each."""
    vocabulary = fact(text_config(model), "vocab_size") or 2
    rows = np.random.default_rng(0).integers(0, vocabulary, (2, 24)).tolist()
    trial = Together(model, Slots(shape, 4, 1 << 12), Mixture())
    slots = [trial.take(64) for _ in range(3)]
    trial.free(slots[1])  # a hole between them
    pair = (slots[0], slots[2])
    seen: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    for first, last in ((0, 9), (9, 20), (20, 21), (21, 22), (22, 24)):
        parts = [
            Part(slot=slot, past=first, ids=row[first:last], wanted=last - first)
            for slot, row in zip(pair, rows, strict=True)
        ]
        for place, logits in enumerate(trial.logits(parts)):
            seen[place].append(logits)
    largest = 0.0
    inner = inner_model(model)
    with _own_attention(inner):
        for row, parts in zip(rows, seen, strict=True):
            ids = torch.tensor([row], device=shape.device)
            wanted = model(input_ids=ids, use_cache=False).logits[0]
            difference = torch.log_softmax(wanted.float(), -1) - torch.log_softmax(torch.cat(parts).float(), -1)
            largest = max(largest, float(difference.abs().max()))
    return largest


@contextmanager
def _own_attention(inner: torch.nn.Module) -> Iterator[None]:
    """Give a model plain attention of the library's inside the block."""
    model = inner_model(inner)
    before = str(model.config._attn_implementation)
    with quiet():
        model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)
