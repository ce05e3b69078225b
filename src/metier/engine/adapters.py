"""LoRA adapters read from PEFT's format, and the many of them that one engine holds.

Shapes: R = rank, I = inputs and O = outputs of a linear layer.
"""

from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path

import torch
from peft import LoraConfig, PeftConfig
from peft.utils.other import get_pattern_key
from safetensors.torch import load_file
from transformers.pytorch_utils import Conv1D

from metier.core import digest
from metier.core.errors import ModelError
from metier.engine.mixture import Adapter, MixedLinear, Mixture
from metier.forest.attend import inner_model
from metier.model.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from metier.model.find import check_safetensors, read_json
from metier.model.layers import decoder_layers
from metier.model.quiet import LIBRARY_FAULTS

_PREFIX = "base_model.model."
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"
_DO = "serve it merged: a server merges by itself what it cannot mix"


def why_unmixable(folder: Path) -> str:
    """Say why an adapter cannot be computed beside others in one batch, or ""."""
    if not (folder / ADAPTER_CONFIG).is_file():
        return "it is no adapter of PEFT's"
    facts = read_json(folder / ADAPTER_CONFIG)
    reasons = {
        f"its kind is {facts.get('peft_type')}": facts.get("peft_type") != "LORA",
        "it is DoRA": bool(facts.get("use_dora")),
        "it has whole modules of its own": bool(facts.get("modules_to_save")),
        "it has biases": bool(facts.get("lora_bias")) or facts.get("bias", "none") != "none",
        "it has token rows of its own": bool(facts.get("trainable_token_indices")),
        "it begins at an invocation": bool(facts.get("alora_invocation_tokens")),
        "its layers are repeated": bool(facts.get("layer_replication")),
        "it trains bare parameters": bool(facts.get("target_parameters")),
        "it needs the base changed": _starts_in_the_base(facts.get("init_lora_weights")),
        "it was trained under a head": str(facts.get("task_type")) == "SEQ_CLS",
    }
    return next((reason for reason, is_so in reasons.items() if is_so), "")


def _starts_in_the_base(start: object) -> bool:
    return isinstance(start, str) and start.lower().startswith(("pissa", "olora", "corda", "loftq"))


def read_adapter(model: torch.nn.Module, folder: Path, name: str) -> Adapter:
    """Read an adapter for a base.

    Raises:
        ModelError: it cannot be mixed, does not fit this base, is damaged, or would change nothing.
    """
    if reason := why_unmixable(folder):
        raise ModelError(f"{folder}: {reason}", "plain LoRA, which can be computed beside others", _DO)
    weights = folder / ADAPTER_WEIGHTS
    check_safetensors(weights)
    try:
        config, tensors = PeftConfig.from_pretrained(str(folder)), load_file(str(weights))
    except LIBRARY_FAULTS as error:
        raise ModelError(f"{folder}: the adapter cannot be read ({error})", "an adapter in PEFT's format") from error
    assert isinstance(config, LoraConfig)
    places = {key.removesuffix(end) for key in tensors for end in (_DOWN, _UP) if key.endswith(end)}
    left = [key for key in tensors if not key.endswith((_DOWN, _UP))]
    if left or not places:
        raise ModelError(f"{weights}: {left[0] if left else 'empty'}", "matrices A and B of linear layers", _DO)
    layers = dict(inner_model(model).named_modules())
    weight = next(model.parameters())
    dtype = weight.dtype if weight.is_floating_point() else torch.float32
    pairs: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for place in sorted(places):
        layer = place.removeprefix(_PREFIX)
        down, up = tensors.get(place + _DOWN), tensors.get(place + _UP)
        if down is None or up is None or layer not in layers or _sizes(layers[layer]) != (down.shape[1], up.shape[0]):
            raise ModelError(f"{weights}: {layer} does not fit the base", "an adapter that was trained on this base")
        scaled = up.float() * _scale(config, layer, down.shape[0])
        pairs[layer] = (_turned(down, weight.device, dtype), _turned(scaled, weight.device, dtype))
    if not any(bool(down.any()) and bool(up.any()) for down, up in pairs.values()):
        raise ModelError(f"{weights}: none of its matrices changes the base", "a trained adapter")
    owner = digest.of_file(weights)[:16] + digest.of_file(folder / ADAPTER_CONFIG)[:16]
    return Adapter(name=name, pairs=pairs, owner=owner if _changes_keys(model, pairs) else "")


def _turned(matrix: torch.Tensor, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    return matrix.T.contiguous().to(device, dtype)


def _sizes(layer: torch.nn.Module) -> tuple[int, int] | None:
    """Return (inputs, outputs) of a linear layer."""
    if isinstance(layer, Conv1D):
        return layer.nx, layer.nf
    inner = layer.inner if isinstance(layer, MixedLinear) else layer
    if isinstance(inner, Conv1D):
        return inner.nx, inner.nf
    return (inner.in_features, inner.out_features) if isinstance(inner, torch.nn.Linear) else None


def _scale(config: LoraConfig, layer: str, rank: int) -> float:
    """Return alpha / rank, or alpha / its root, of one layer, as PEFT finds it."""
    alpha = (config.alpha_pattern or {}).get(get_pattern_key(list(config.alpha_pattern or {}), layer))
    return (config.lora_alpha if alpha is None else alpha) / (rank**0.5 if config.use_rslora else rank)


def _changes_keys(model: torch.nn.Module, layers: Collection[str]) -> bool:
    """Tell whether keys and values of a prefix depend on an adapter: not if it only acts behind the last of them."""
    inner = inner_model(model)
    last = decoder_layers(inner)[-1]
    whole = {id(module): name for name, module in inner.named_modules()}
    end = whole[id(last)]
    harmless = ("q_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    behind = [name for name in layers if name.startswith(end + ".") and name.rpartition(".")[2] in harmless]
    return len(behind) + ("lm_head" in layers) != len(layers)


class Shelf:
    """Adapters by name: known by their folder, read when they are wanted, within a number of bytes.

    Args:
        model: the base; a layer that an adapter wants is wrapped, once.
        mixture: what the wrapped layers look at.
        most_bytes: of all adapters in memory; the least recently used that nobody uses go first.
    """

    def __init__(self, model: torch.nn.Module, mixture: Mixture, most_bytes: int) -> None:
        self._model = model
        self._mixture = mixture
        self._most = most_bytes
        self._folders: dict[str, Path] = {}
        self._sizes: dict[str, int] = {}
        self._held: OrderedDict[str, Adapter] = OrderedDict()

    @property
    def names(self) -> tuple[str, ...]:
        """All that are known."""
        return tuple(self._folders)

    @property
    def loaded(self) -> tuple[str, ...]:
        """Those in memory, least recently used first."""
        return tuple(self._held)

    def knows(self, name: str) -> bool:
        """Tell whether an adapter is known and can still be read: its folder may have been deleted meanwhile."""
        return name in self._folders and self._folders[name].is_dir()

    def know(self, name: str, folder: Path) -> None:
        """Make an adapter known; one of that name is replaced."""
        self.forget(name)
        self._folders[name] = folder

    def forget(self, name: str) -> None:
        """Make it unknown; answers being written with it go on."""
        self._folders.pop(name, None)
        self._sizes.pop(name, None)
        self._held.pop(name, None)

    def get(self, name: str, in_use: Collection[str] = ()) -> Adapter | None:
        """Return an adapter, read from its folder if need be; None: others in use leave no room for it now.

        Raises:
            ModelError: it is not known, or cannot be read.
        """
        if name in self._held:
            self._held.move_to_end(name)
            return self._held[name]
        if name not in self._folders:
            raise ModelError(f"adapter {name!r}: not known", "one of " + (", ".join(sorted(self._folders)) or "none"))
        kept = sum(adapter.bytes for other, adapter in self._held.items() if other in in_use)
        if kept and kept + self._sizes.get(name, 0) > self._most:
            return None
        adapter = read_adapter(self._model, self._folders[name], name)
        self._sizes[name] = adapter.bytes
        if kept and kept + adapter.bytes > self._most:
            return None
        idle = [other for other in self._held if other not in in_use]
        while idle and self._size() + adapter.bytes > self._most:
            del self._held[idle.pop(0)]
        self._held[name] = adapter
        for layer in adapter.pairs:
            self._wrap(layer)
        return adapter

    def _size(self) -> int:
        return sum(adapter.bytes for adapter in self._held.values())

    def _wrap(self, name: str) -> None:
        inner = inner_model(self._model)
        parent, _, last = name.rpartition(".")
        module = inner.get_submodule(name)
        if not isinstance(module, MixedLinear):
            setattr(inner.get_submodule(parent), last, MixedLinear(module, name, self._mixture))
