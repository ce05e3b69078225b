"""Let any model of the library compute a forest: our attention through its public interface, labels only on top.

Shapes: H = query heads, K = key/value heads, N = tokens of a forest, Q = places that predict labels, D = head width.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import torch
from torch.nn.functional import pad
from torch.utils._triton import has_triton
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from metier.core.errors import SettingsError
from metier.forest.flash import FlashForest
from metier.forest.flex import Sight, attend_flexibly
from metier.forest.forest import Forest, Trunk
from metier.forest.pieces import Node, attention_pieces
from metier.forest.plain import Keys, Options, attend_plainly, default_scale
from metier.model.autocast import is_autocast
from metier.model.layers import decoder_layers
from metier.model.linear import quick

NAME = "metier_forest"

_KERNELS = ("cpu", "meta")
"""Devices whose kernels take pieces of a forest; on `meta` a step is only gone through, to see what it would need."""


_HEARD: ContextVar["Walk | None"] = ContextVar("metier_walk", default=None)
"""The walk that the decoder layer in work was handed: some layers do not hand it on to their attention."""


class KeysKnown(Exception):
    """Leaves a layer as soon as its keys and values are known: nothing else of it is needed."""


class Walk:
    """One pass of a forest through a model: what the attention of every layer has to know.

    Args:
        forest: what is computed.
        record: where the keys and values of every layer are kept, when the forest is a trunk.

    `at_labels` tells, after the last layer, whether what comes out stands at `forest.source` only.
    """

    def __init__(self, forest: Forest, record: Trunk | None = None) -> None:
        self.forest = forest
        self.record = record
        self.at_labels = False
        self._sight: Sight | None = None
        self._catching = False
        self._caught: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: Options
    ) -> torch.Tensor:
        """Return the attention output [1, queries, H, D] of a layer (its `id`).

        Raises:
            KeysKnown: asked for nothing but keys and values.
        """
        if self.record is not None:
            self.record.record(layer, key, value)
        if self._catching:
            self._caught[layer] = (key, value)
            raise KeysKnown
        forest = self.forest
        positions, pieces = forest.positions[0], forest.pieces
        query_positions = positions
        at_labels = layer in self._caught
        if at_labels:
            key, value = self._caught[layer]
            pieces, query_positions = forest.label_pieces, positions[forest.source]
        held = forest.trunk.held(layer) if forest.trunk is not None else (None, None)
        window = options.window if options.window is not None and options.window < forest.reach else None
        options = replace(options, window=window)
        if query.device.type == "cuda" and options.dropout == 0 and has_triton():
            self._sight = self._sight or Sight(forest)
            keys, values = (
                torch.cat([above, own], dim=2) if above is not None else own
                for above, own in zip(held, (key, value), strict=True)
            )
            mask = self._sight.mask(at_labels=at_labels, window=window)
            return attend_flexibly(query, keys, values, mask, options)
        if _is_plain(query, options):
            keys = Keys(key=key, value=value, positions=positions)
            above = None
            if forest.trunk is not None and held[0] is not None and held[1] is not None:
                above = Keys(key=held[0], value=held[1], positions=forest.trunk.positions.to(positions.device))
            return attend_plainly(query, query_positions, keys, above, pieces, options=options)
        return FlashForest.apply(query, key, value, *held, pieces, options.scale)

    def keys_only(self, layer: torch.nn.Module, *args: Any, **kwargs: Any) -> None:
        """Run a layer until its keys and values are known, for queries that come later."""
        self._catching = True
        try:
            with suppress(KeysKnown):
                layer.forward(*args, **kwargs)
        finally:
            self._catching = False


def _is_plain(query: torch.Tensor, options: Options) -> bool:
    """Tell whether a layer needs more than the kernels do."""
    unusual = options.window is not None or options.softcap is not None or options.sinks is not None
    return unusual or options.dropout > 0 or query.device.type not in _KERNELS


def forest_attention(  # noqa: PLR0913, PLR0917 - the signature of the library's interface
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention over a forest: every token sees itself and what stands before it in its own sequence.

    Args:
        module: the attention layer; names the keys and values that a trunk keeps.
        query: [1, H, N, D].
        key: [1, K, N, D].
        value: [1, K, N, D], or narrower.
        attention_mask: unused; the forest says who sees whom.
        scaling: of the scores; None: 1 / sqrt(D).
        dropout: share of attention weights zeroed.
        kwargs: `walk` (missing: that of the decoder layer; it has none: one sequence), `sliding_window`, `softcap` and
            `s_aux`.

    Returns:
        [1, N, H, D], as narrow as the values, and no attention weights.
    """
    options = Options(
        scale=scaling if scaling is not None else default_scale(query.shape[-1]),
        dropout=dropout,
        window=kwargs.get("sliding_window"),
        softcap=kwargs.get("softcap"),
        sinks=kwargs.get("s_aux"),
    )
    width = value.shape[-1]
    query, key, value = _of_one_width(*_alike(query, key, value))
    walk = kwargs.get("walk") or _HEARD.get()
    if walk is None:
        output = _one_sequence(query, key, value, options)
    else:
        output = walk.attend(id(module), query, key, value, options)
    return output if output.shape[-1] == width else output[..., :width], None


def _alike(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Give tensors one type: under autocast rotary angles leave queries and keys in float32, values in bfloat16."""
    kind = tensors[0].device.type
    dtype = torch.get_autocast_dtype(kind) if is_autocast(kind) else tensors[0].dtype
    return tuple(tensor.to(dtype) for tensor in tensors)


def _of_one_width(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Fill the narrower tensors up with zeros, which say nothing: keys of latent attention are wider than values."""
    most = max(tensor.shape[-1] for tensor in tensors)
    return tuple(
        tensor if tensor.shape[-1] == most else pad(tensor, (0, most - tensor.shape[-1])) for tensor in tensors
    )


def _one_sequence(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: Options) -> torch.Tensor:
    """Attend as if all tokens were one sequence: what a model that does not pass our argument on falls back to."""
    length = query.shape[2]
    pieces = attention_pieces([Node(start=0, length=length, end=length, depth=0)], ())
    positions = torch.arange(length, device=query.device)
    return attend_plainly(
        query, positions, Keys(key=key, value=value, positions=positions), None, pieces, options=options
    )


@contextmanager
def packed(model: torch.nn.Module, *, labels_only: bool = True) -> Iterator[None]:
    """Let a model compute forests inside the block; its own attention is restored afterwards.

    Args:
        model: a causal language model of the library, or an adapter around one.
        labels_only: let the last layer compute queries, attention and what follows only where labels are predicted
            (keys and values everywhere). The forward pass then returns logits at `forest.source` only.
    """
    AttentionInterface.register(NAME, forest_attention)
    AttentionMaskInterface.register(NAME, lambda *args, **kwargs: None)
    inner = inner_model(model)
    before = str(inner.config._attn_implementation)
    inner.set_attn_implementation(NAME)
    try:
        with quick(inner), _heard(inner, labels_only=labels_only):
            yield
    finally:
        inner.set_attn_implementation(before)


@contextmanager
def _heard(model: PreTrainedModel, *, labels_only: bool) -> Iterator[None]:
    """Let the decoder layers hear of the walk inside the block, and the last of them compute where labels are."""
    layers: list[torch.nn.Module] = []
    with nullcontext() if labels_only else suppress(SettingsError):  # no list of layers
        layers += decoder_layers(model)
    hooks = [layer.register_forward_pre_hook(_hear, with_kwargs=True) for layer in layers]
    hooks += [layer.register_forward_hook(_forget, always_call=True) for layer in layers]
    if labels_only:
        hooks.append(layers[-1].register_forward_pre_hook(_at_labels, with_kwargs=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _hear(layer: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    _HEARD.set(kwargs.get("walk"))


def _forget(layer: torch.nn.Module, args: tuple[Any, ...], output: Any) -> None:
    _HEARD.set(None)


def _at_labels(layer: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
    """Compute the keys and values of the last layer everywhere, then hand it the places that predict labels only."""
    walk = kwargs.get("walk")
    if walk is None:
        return None
    walk.keys_only(layer, *args, **kwargs)
    if walk.record is not None and not len(walk.forest.source):
        raise KeysKnown
    walk.at_labels = True
    tokens, source = walk.forest.tokens, walk.forest.source
    return _chosen(args, tokens, source), {name: _chosen(value, tokens, source) for name, value in kwargs.items()}


def _chosen(value: Any, tokens: int, source: torch.Tensor) -> Any:
    """Keep the chosen places of every tensor [B, N, ...] in an argument."""
    if isinstance(value, tuple):
        return tuple(_chosen(part, tokens, source) for part in value)
    if isinstance(value, torch.Tensor) and value.ndim >= 2 and value.shape[1] == tokens:
        return value[:, source]
    return value


@contextmanager
def as_it_is(model: torch.nn.Module) -> Iterator[None]:
    """Let a model keep its own attention: for architectures that packing cannot serve."""
    with quick(model):
        yield


def inner_model(model: torch.nn.Module) -> PreTrainedModel:
    """Return the transformers model inside an adapter's wrapper, or the model itself."""
    inner = model if isinstance(model, PreTrainedModel) else model.get_base_model()  # pyrefly: ignore
    assert isinstance(inner, PreTrainedModel)
    return inner
