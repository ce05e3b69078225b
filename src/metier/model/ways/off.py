"""The base inside an adapted model: every adapter switched off for a while, whatever its kind."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils import ModulesToSaveWrapper

from metier.core.errors import SettingsError
from metier.model.ways.bottleneck import bottlenecks
from metier.model.ways.virtual import Virtual


def keeps_base(model: torch.nn.Module) -> bool:
    """Tell whether a model has its base inside: what trains stands beside weights that do not."""
    return isinstance(model, PeftModel | Virtual) or bool(bottlenecks(model))


@contextmanager
def adapter_off(model: torch.nn.Module) -> Iterator[None]:
    """Let a model answer as its base inside the block; no backward pass may run in it.

    Where LoRA started with what it took out of the base (PiSSA, OLoRA), PEFT's own switch leaves the rest of the base
    only: there the adapters become for a while what they started as.

    Raises:
        SettingsError: the model has no adapter: its base is not in memory any more.
    """
    modules = bottlenecks(model)
    if isinstance(model, Virtual) or modules:
        switches = [model] if isinstance(model, Virtual) else modules
        for switch in switches:
            switch.enabled = False
        try:
            yield
        finally:
            for switch in switches:
                switch.enabled = True
    elif not isinstance(model, PeftModel):
        raise SettingsError("the base is needed beside a model that trains its own weights", "a method with adapters")
    else:
        trains = {name: weight.requires_grad for name, weight in model.named_parameters()}
        try:
            with _base_of(model):
                yield
        finally:  # PEFT's switch thaws what a method keeps frozen in its adapter
            for name, weight in model.named_parameters():
                weight.requires_grad_(trains[name])


@contextmanager
def _base_of(model: PeftModel) -> Iterator[None]:
    started = _started(model)
    if not started:
        with model.disable_adapter():
            yield
        return
    whole = [module for module in model.modules() if isinstance(module, ModulesToSaveWrapper)]
    _exchange(started)
    for module in whole:
        module.enable_adapters(False)
    try:
        yield
    finally:
        _exchange(started)
        for module in whole:
            module.enable_adapters(True)


def _started(model: PeftModel) -> list[tuple[torch.nn.Parameter, torch.Tensor]]:
    """Return each matrix with what it started as, where it took that out of the base."""
    pairs = []
    for module in model.modules():
        if isinstance(module, LoraLayer):
            starts = {name.removeprefix("start_"): start for name, start in module.named_buffers() if "start_" in name}
            if starts and module.use_dora["default"]:
                raise SettingsError("the base beside DoRA that started as pissa or olora", "another init, or no DoRA")
            for name, start in starts.items():
                pairs.append((module.get_submodule(f"{name}.default").get_parameter("weight"), start))
    return pairs


def _exchange(pairs: list[tuple[torch.nn.Parameter, torch.Tensor]]) -> None:
    """Exchange the numbers of two lists of tensors; a graph built before keeps the parameters that it saw."""
    for weight, start in pairs:
        weight.data, start.data = start.data, weight.data
