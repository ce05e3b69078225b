"""Layers below the lowest one that trains say the same at every step: compute them once, start above them ever after.

Shapes: N = tokens of a forest, T = tokens of one sequence, E = hidden width.
"""

from collections.abc import Iterator
from collections.abc import Sequence as Many
from contextlib import contextmanager, suppress
from typing import Any

import torch

from metier.core.types import Sequence
from metier.forest import score
from metier.forest.attend import Walk, inner_model
from metier.forest.bins import bins
from metier.forest.grow import grow, needed
from metier.forest.way import Way
from metier.model.layers import decoder_layers

_AT_ONCE = 2048
"""Tokens of the forests that states are computed in; part of what the states are, so that they never change."""


class _Reached(Exception):
    """Leaves a model at the layer where its frozen part ends."""


class Passing(torch.nn.Module):
    """Stands where a frozen layer stood and hands its input on."""

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the hidden states as they came."""
        return hidden_states


def lowest_trained(model: torch.nn.Module) -> int:
    """Return the number of the lowest decoder layer with a weight that trains; 0 when anything before them trains.

    Dropout anywhere makes frozen layers differ from step to step: then it is 0 too.
    """
    inner = inner_model(model)
    layers = decoder_layers(inner)
    inside = {id(weight) for layer in layers for weight in layer.parameters()}
    dropping = any(isinstance(m, torch.nn.Dropout) and m.p > 0 for m in model.modules())
    embedding = inner.get_input_embeddings()
    if dropping or any(weight.requires_grad for weight in embedding.parameters()):
        return 0
    number = next(
        (n for n, layer in enumerate(layers) if any(w.requires_grad for w in layer.parameters())), len(layers)
    )
    before = [name for name, w in model.named_parameters() if w.requires_grad and id(w) not in inside]
    behind = [name for name in before if ("norm" in name.rpartition(".")[0] or "head" in name) and "embed" not in name]
    return 0 if len(behind) < len(before) else min(number, len(layers) - 1)


@torch.no_grad()
def states_below(
    model: torch.nn.Module, way: Way, sequences: Many[Sequence], layer: int
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield (index of a sequence, what enters `layer` at each of its needed tokens [T, E]), in no particular order.

    Sequences of which nothing is needed are left out. Call outside `way.attention(model)`. Which sequences are computed
    together depends on their lengths alone.
    """
    target = decoder_layers(inner_model(model))[layer]
    device = next(model.parameters()).device
    found: list[torch.Tensor] = []

    def catch(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append(args[0] if args else kwargs["hidden_states"])
        raise _Reached

    handle = target.register_forward_pre_hook(catch, with_kwargs=True)
    try:
        with way.attention(model):
            some = [index for index, sequence in enumerate(sequences) if needed(sequence)]
            for places in bins([_taken(sequences[index], way) for index in some], _AT_ONCE):
                group = [some[place] for place in places]
                forest = grow([sequences[index] for index in group]).to(device)
                with suppress(_Reached):
                    score.run(model, forest, Walk(forest))
                states = found.pop()[0]
                for place, index in enumerate(group):
                    yield index, states[forest.path(place)]
    finally:
        handle.remove()


def _taken(sequence: Sequence, way: Way) -> int:
    """Return how many tokens of a forest a sequence takes: all where it would change how others are computed."""
    return needed(sequence) if way.is_steady([sequence]) else max(needed(sequence), _AT_ONCE)


@contextmanager
def above(model: torch.nn.Module, layer: int) -> Iterator[None]:
    """Let a model start at `layer` from `forest.states` inside the block; the layers below are not computed."""
    layers = decoder_layers(inner_model(model))
    kept = [layers[number] for number in range(layer)]
    for number in range(layer):
        layers[number] = Passing()
    handle = layers[layer].register_forward_pre_hook(_start, with_kwargs=True, prepend=True)
    try:
        yield
    finally:
        handle.remove()
        for number, module in enumerate(kept):
            layers[number] = module


def _start(layer: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
    walk = kwargs.get("walk")
    if walk is None or walk.forest.states is None:
        return None
    states = walk.forest.states
    return ((states, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": states})
