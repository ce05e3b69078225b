"""Log-probabilities at labels: the model's head runs at label positions only.

Shapes: N = tokens of a forest, Q = places that predict labels, M = labels, V = vocabulary, E = hidden width.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from metier.forest.attend import KeysKnown, Walk, inner_model
from metier.forest.forest import Forest, Trunk
from metier.forest.head import Asked, HeadLosses
from metier.model.autocast import is_autocast
from metier.model.linear import is_summed


class _HiddenKnown(Exception):
    """Leaves a model at the door of its head."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """Labels: -log p in `nats` [M], and `right` bool [M], where no token is likelier than the label."""

    nats: torch.Tensor
    right: torch.Tensor


def logits(model: torch.nn.Module, forest: Forest) -> torch.Tensor:
    """Return the logits float [M, V] that predict each label. Call inside `attend.packed(model)`.

    Those of places in a trunk are made there, once for all forests that hang from it.
    """
    walk, decoded = Walk(forest), type[Any]

    def at_source(head: torch.nn.Module, args: tuple[Any, ...]) -> tuple[torch.Tensor]:
        return (_at_source(args[0], forest, walk)[None],)

    def seen(decoder: torch.nn.Module, args: tuple[Any, ...], output: Any) -> None:
        nonlocal decoded
        decoded = type(output)

    handle = inner_model(model).base_model.register_forward_hook(seen)
    try:
        with before_head(model, at_source):
            here = run(model, forest, walk).logits[0]
    finally:
        handle.remove()
    if len(forest.held):
        assert forest.trunk is not None
        (held,) = forest.trunk.made("hidden", "logits", lambda hidden, _: (_behind(model, hidden, decoded),))
        here = torch.cat([here, held[forest.held].to(here.dtype)])
    return here[forest.row]


def _behind(model: torch.nn.Module, hidden: torch.Tensor, decoded: type[Any]) -> torch.Tensor:
    """Return what a model says, at least float32 [Q, V], of what its head reads [Q, E]: its layers are passed over.

    Args:
        model: with a head.
        hidden: as `hidden` returns it.
        decoded: what the model's decoder returns.
    """
    inner = inner_model(model)
    decoder = inner.base_model
    before = vars(decoder).get("forward")
    decoder.forward = lambda *args, **kwargs: decoded(last_hidden_state=hidden[None])
    try:
        with before_head(model, lambda head, args: (hidden[None],)):
            said = inner(input_ids=hidden.new_zeros(1, len(hidden), dtype=torch.int64), use_cache=False).logits[0]
    finally:
        del decoder.forward
        if before is not None:
            decoder.forward = before
    return at_least_float32(said)


def hidden(model: torch.nn.Module, forest: Forest) -> torch.Tensor:
    """Return what the head would read, float [Q, E], at `forest.source`. Call inside `attend.packed(model)`."""
    return _reached(model, forest, Walk(forest))["hidden"]


def losses(model: torch.nn.Module, forest: Forest) -> torch.Tensor:
    """Return -log p in nats, [M], of each label, unweighted. Call inside `attend.packed(model)`."""
    return cross_entropy(at_least_float32(logits(model, forest)), forest.token, reduction="none")


def judged(logits: torch.Tensor, forest: Forest) -> Judged:
    """Return what logits [M, V] say of the labels of a forest."""
    nats = cross_entropy(at_least_float32(logits), forest.token, reduction="none")
    return Judged(nats=nats, right=right(logits, forest))


@torch.no_grad()
def right(logits: torch.Tensor, forest: Forest) -> torch.Tensor:
    """Return bool [M]: where no token is likelier by logits [M, V] than the label."""
    return logits.amax(dim=1) == logits.gather(1, forest.token[:, None])[:, 0]


def head_losses(model: torch.nn.Module, forest: Forest) -> torch.Tensor:
    """Return the same as `losses` for a model whose head is one plain matrix, with a third of the memory."""
    return head_judged(model, forest).nats


def head_judged(model: torch.nn.Module, forest: Forest) -> Judged:
    """Return what a model whose head is one plain matrix says of the labels, in one pass over the head.

    Labels that a trunk predicts are scored there, once for all forests that hang from it.
    """
    head = inner_model(model).get_output_embeddings()
    assert isinstance(head, torch.nn.Linear)

    def judge(states: torch.Tensor, scored: Forest) -> tuple[torch.Tensor, torch.Tensor]:
        autocast = is_autocast(states.device.type)
        dtype = torch.get_autocast_dtype(states.device.type) if autocast else states.dtype
        asked = Asked(scored.row[scored.own], scored.token[scored.own], dtype, is_summed(head))
        return HeadLosses.apply(states, head.weight, head.bias, asked)

    nats, right = judge(hidden(model, forest), forest)
    if len(forest.held):
        assert forest.trunk is not None
        above = forest.trunk.made("hidden", "judged", judge)
        nats, right = (torch.cat(both)[forest.told] for both in zip((nats, right), above, strict=True))
    return Judged(nats=nats, right=right)


def read_trunk(model: torch.nn.Module, trunk: Trunk) -> None:
    """Compute the keys and values of a trunk, and what stands where it predicts labels.

    Call inside `attend.packed(model)`, with what the trunk hangs from computed.
    """
    forest = trunk.forest.to(next(model.parameters()).device)
    walk = Walk(forest, record=trunk)
    if len(forest.source):
        trunk.reach(**_reached(model, forest, walk))
        return
    first = torch.zeros(1, dtype=torch.int64, device=forest.ids.device)
    with suppress(KeysKnown):
        run(model, forest, walk, keep=first)


def _reached(model: torch.nn.Module, forest: Forest, walk: Walk) -> dict[str, torch.Tensor]:
    """Return the decoder's last `states` and, of a model with a head, what that would read (`hidden`), [Q, E] each.

    What the head of a vocabulary reads may be scaled on its way there.
    """
    if not writes(model):
        return {"states": _at_source(_decode(model, forest, walk).last_hidden_state, forest, walk)}
    found: dict[str, torch.Tensor] = {}

    def catch_states(decoder: torch.nn.Module, args: tuple[Any, ...], output: Any) -> None:
        found["states"] = _at_source(output.last_hidden_state, forest, walk)

    def catch_hidden(head: torch.nn.Module, args: tuple[Any, ...]) -> None:
        found["hidden"] = _at_source(args[0], forest, walk)
        raise _HiddenKnown

    handle = inner_model(model).base_model.register_forward_hook(catch_states)
    try:
        with before_head(model, catch_hidden), suppress(_HiddenKnown):
            run(model, forest, walk)
    finally:
        handle.remove()
    return found


def _at_source(states: torch.Tensor, forest: Forest, walk: Walk) -> torch.Tensor:
    return states[0] if walk.at_labels else states[0, forest.source]


def _with_held(here: torch.Tensor, forest: Forest, name: str) -> torch.Tensor:
    """Put what trunks reached where they predict labels of this forest behind what was found here [Q, E]."""
    if not len(forest.held):
        return here
    assert forest.trunk is not None
    return torch.cat([here, forest.trunk.said(name)[forest.held].to(here.dtype)])


def states(model: torch.nn.Module, forest: Forest) -> torch.Tensor:
    """Return the decoder's last states [M, E] where each label is predicted. Call inside `attend.packed(model)`.

    What a head of classes or numbers reads; what the head of a vocabulary reads may be scaled on its way there.
    """
    walk = Walk(forest)
    here = _at_source(_decode(model, forest, walk).last_hidden_state, forest, walk)
    return _with_held(here, forest, "states")[forest.row]


def _decode(model: torch.nn.Module, forest: Forest, walk: Walk) -> Any:
    decoder = inner_model(model).base_model
    return decoder(input_ids=forest.ids, position_ids=forest.positions, use_cache=False, walk=walk)


def run(model: torch.nn.Module, forest: Forest, walk: Walk, *, keep: int | torch.Tensor = 0) -> Any:
    """Call a model on a forest, one with a head up to its last states. Call inside `attend.packed(model)`.

    Args:
        model: a causal language model of the library, one with a head, or an adapter around one.
        forest: on the model's device.
        walk: what every attention layer is told.
        keep: places whose logits are wanted; 0: all that come out of the last layer.
    """
    if not writes(model):
        return _decode(model, forest, walk)
    return model(input_ids=forest.ids, position_ids=forest.positions, use_cache=False, logits_to_keep=keep, walk=walk)


@contextmanager
def before_head(model: torch.nn.Module, hook: Callable[[torch.nn.Module, tuple[Any, ...]], Any]) -> Iterator[None]:
    """Call a hook before the head inside the block; what it returns is what the head reads."""
    head = inner_model(model).get_output_embeddings()
    assert isinstance(head, torch.nn.Module)
    handle = head.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def writes(model: torch.nn.Module) -> bool:
    """Tell whether a model has a head over the vocabulary."""
    return inner_model(model).get_output_embeddings() is not None


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Return half-precision values as float32, and float64 as it is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def alone(model: torch.nn.Module, forest: Forest) -> torch.Tensor:
    """Return the same as `losses`, each sequence in a call of its own through the model's own attention.

    The fallback for architectures that packing cannot serve, and the other side of the probe that finds them.
    """
    return cross_entropy(at_least_float32(logits_alone(model, forest)), forest.token, reduction="none")


def logits_alone(model: torch.nn.Module, forest: Forest) -> torch.Tensor:
    """Return the same as `logits`, each sequence in a call of its own. Call outside `attend.packed`."""
    return _by_path(forest, lambda ids, keep: model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits[0])


def states_alone(model: torch.nn.Module, forest: Forest) -> torch.Tensor:
    """Return the same as `states`, each sequence in a call of its own. Call outside `attend.packed`."""
    decoder = inner_model(model).base_model
    return _by_path(forest, lambda ids, keep: decoder(input_ids=ids, use_cache=False).last_hidden_state[0, keep])


def _by_path(forest: Forest, read: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Read [M, ...] of a sequence's tokens [1, T] at its places int64 [M_i], sequence by sequence, as labels lie."""
    parts = []
    for sequence in forest.sequences:
        keep = np.flatnonzero(sequence.weights) - 1
        if len(keep):
            ids = sequence.ids[None, : keep[-1] + 1].astype(np.int64)
            parts.append(read(*(torch.from_numpy(each).to(forest.ids.device) for each in (ids, keep))))
    return torch.cat(parts)
