"""Put a frozen base into fewer bits: every linear layer that does not train, save the head."""

from collections.abc import Callable, Iterator
from typing import Literal, get_args

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import ModulesToSaveWrapper
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from metier.core import extras
from metier.core.errors import ModelError, SettingsError
from metier.model.layers import odd_linear_layers
from metier.model.quantise.half import HalfLinear
from metier.model.quantise.int8 import LEAST_FEATURES, Int8Linear
from metier.model.quantise.nf4 import EXTRA, Nf4Linear
from metier.model.quiet import quiet
from metier.report.cells import size

Quantisation = Literal["none", "bfloat16", "int8", "nf4", "nf4-double"]

KINDS: tuple[Quantisation, ...] = get_args(Quantisation)

QUANTISED = (HalfLinear, Int8Linear, Nf4Linear)
"""The layers that `quantise` puts in the place of linear ones."""

_OF_THE_LIBRARY = ("nf4", "nf4-double")


def require_possible(kind: Quantisation, method: str, device: torch.device) -> None:
    """Refuse what cannot be trained or computed, before a base is loaded for it.

    Raises:
        SettingsError: the method changes the weights that would be frozen, or int8 where it cannot be computed.
        MissingExtraError: NF4 without bitsandbytes.
    """
    if kind == "none":
        return
    if method in ("full", "layers"):
        raise SettingsError(
            f"model.quantise {kind!r} with model.method {method!r}",
            "a method that leaves the base frozen: rounded weights cannot be trained",
            "set model.method lora, or model.quantise none",
        )
    if kind in _OF_THE_LIBRARY:
        extras.require(EXTRA)
    elif kind == "int8" and device.type != "cpu":
        raise SettingsError("model.quantise 'int8' on a GPU", "a CPU; its kernels are for CPUs", "set nf4 or none")


def int8_is_exact(product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> bool:
    """Tell whether the largest possible int8 products are summed without loss: some kernels cut sums at 16 bits."""
    signs = torch.where(torch.arange(64) % 2 == 0, 1, -1)
    tokens = torch.full((32, 64), 127, dtype=torch.int8)
    codes = torch.cat([torch.full((16, 64), 127), signs.expand(16, 64) * 127]).to(torch.int8)
    return torch.equal(product(tokens, codes.t()).long(), tokens.long() @ codes.long().t())


def quantise(model: torch.nn.Module, kind: Quantisation, device: torch.device) -> torch.nn.Module:
    """Replace the frozen linear layers of an adapted base by layers of fewer bits, then put the model on `device`.

    Adapters, embeddings, norms and the head stay as they are. What was loaded as it is stored is rounded from that.
    It goes layer by layer, so that a GPU never holds the whole base in float32. The same base gives the same bits
    everywhere.

    Args:
        model: with its adapters; changed in place.
        kind: "none" only moves the model.
        device: where it will run; torch's meta device for a model without numbers.

    Raises:
        ModelError: there is no layer to quantise, or this CPU cannot compute in it.
        MissingExtraError: NF4 without bitsandbytes.
    """
    if kind != "none":
        _require_kernels(kind, device)
        places = list(_places(model))
        if not places:
            raise ModelError(f"model.quantise {kind!r}: no frozen linear layer in {type(model).__name__}", "some")
        places.reverse()
        while places:  # each is let go before the next is rounded
            parent, name, layer = places.pop()
            setattr(parent, name, _replacement(layer, kind).to(device))
            del layer
        _leave_file(model)
    return model.to(device)


def described(model: torch.nn.Module, kind: Quantisation) -> str:
    """Say what of a quantised base lies in fewer bits and what does not, in bytes; also of one without numbers."""
    rounded = [part for part in model.modules() if isinstance(part, QUANTISED)]
    few = {id(weight): weight.nbytes for part in rounded for weight in part.parameters()}
    whole = [weight for weight in model.parameters() if not weight.requires_grad and id(weight) not in few]
    stacked = [weight for weight in whole if _is_stacked(weight)]
    rest = sum(weight.nbytes for weight in whole) - sum(weight.nbytes for weight in stacked)
    experts = sum(weight.nbytes for weight in stacked)
    text = f"{len(rounded)} linear layers lie in {kind} and take {size(sum(few.values()))}; in float32 stay "
    if stacked:
        text += f"{size(experts)} of experts, which this base keeps in one tensor a layer, and "
    return text + f"{size(rest)} of embeddings, head, norms and the like"


def _is_stacked(weight: torch.Tensor) -> bool:
    """Tell whether a weight holds the matrices of several experts, [experts, O, I]."""
    return weight.ndim == 3 and min(weight.shape[1:]) >= LEAST_FEATURES


def _leave_file(model: torch.nn.Module) -> None:
    """Copy what stays as it is: weights lie in the file that was read, of which nothing is let go while one is left."""
    rounded = {id(weight) for part in model.modules() if isinstance(part, QUANTISED) for weight in part.parameters()}
    for weight in model.parameters():
        if not weight.requires_grad and id(weight) not in rounded:
            weight.data = weight.data.clone()


def narrow(model: PreTrainedModel) -> None:
    """Keep the linear layers of a base that is stored in bfloat16 so, and all the rest in float32; changed in place.

    The layers compute in float32 all the same, so it answers exactly as a base that takes twice the memory.
    """
    model.requires_grad_(False)
    for parent, name, layer in list(_places(model)):
        if type(layer) is torch.nn.Linear:
            setattr(parent, name, HalfLinear(layer.weight, layer.bias))
    halves = {id(layer.stored) for layer in model.modules() if isinstance(layer, HalfLinear)}
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point() and id(tensor) not in halves:
            tensor.data = tensor.data.float()
    for config in (model.config, model.config.get_text_config()):
        config.dtype = torch.float32


def dequantise(model: torch.nn.Module) -> torch.nn.Module:
    """Replace every quantised layer by a plain one of the weights that it counted with; changed in place."""
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, QUANTISED):
                weight = layer.weight.detach()
                plain = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=layer.bias is not None, device="meta")
                plain.weight = torch.nn.Parameter(weight, requires_grad=False)
                if layer.bias is not None:
                    plain.bias = torch.nn.Parameter(layer.bias.detach().clone(), requires_grad=False)
                setattr(parent, name, plain)
    return model


def _require_kernels(kind: Quantisation, device: torch.device) -> None:
    if device.type == "meta":
        return  # sizes alone: nothing is computed
    if kind in _OF_THE_LIBRARY:
        extras.require(EXTRA)
    elif kind == "int8" and device.type == "cpu" and not int8_is_exact(torch._int_mm):
        raise ModelError(
            "int8: the integer products of this CPU are not exact (sums are cut off)",
            "a CPU with VNNI instructions",
            "set model.quantise none, or run where the adapter was trained",
        )


def _places(model: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, str, torch.nn.Module]]:
    """Yield (parent, attribute, layer) of what is quantised: of an adapter's layers, only the base layer inside."""
    kept = {id(weight) for weight in _shared_weights(model)}
    odd = set(odd_linear_layers(model))
    adapters: tuple[str, ...] = ()
    for path, parent in model.named_modules():
        inside = path.startswith(adapters) if adapters else False
        if isinstance(parent, BaseTunerLayer):
            adapters += (f"{path}.",)
        elif inside:
            continue
        elif isinstance(parent, ModulesToSaveWrapper):  # trained whole, though frozen once it is loaded again
            adapters += (f"{path}.modules_to_save",)
        for name, layer in parent.named_children():
            if isinstance(parent, BaseTunerLayer) and name != "base_layer":
                continue
            if f"{path}.{name}".lstrip(".") in odd:
                continue
            if isinstance(layer, (torch.nn.Linear, Conv1D)) and _may_be_rounded(layer.weight, kept):
                yield parent, name, layer


def _may_be_rounded(weight: torch.Tensor, kept: set[int]) -> bool:
    return not weight.requires_grad and id(weight) not in kept and min(weight.shape) >= LEAST_FEATURES


def _shared_weights(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Yield the weights of embeddings and head, which every base keeps in full."""
    for part in model.modules():
        if isinstance(part, PreTrainedModel):
            for layer in (part.get_input_embeddings(), part.get_output_embeddings()):
                if layer is not None:
                    yield from layer.parameters()


def _replacement(layer: torch.nn.Module, kind: Quantisation) -> torch.nn.Module:
    assert isinstance(layer, (torch.nn.Linear, Conv1D))
    if kind == "bfloat16" and isinstance(layer, HalfLinear):
        return layer
    weight = layer.weight.t() if isinstance(layer, Conv1D) else layer.weight
    if kind == "bfloat16":
        return HalfLinear(weight, layer.bias)
    if kind == "int8":
        return Int8Linear(weight, layer.bias)
    with quiet():
        return Nf4Linear(weight, layer.bias, double=kind == "nf4-double")
