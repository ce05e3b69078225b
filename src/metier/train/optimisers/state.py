"""An optimiser's state as named tensors, and back, bit for bit; libraries keep plain numbers in it too."""

from collections.abc import Mapping
from typing import Any

import torch

from metier.core.errors import DataError
from metier.train.optimisers.optimiser import Optimiser

_RUNNING = ("k", "weight_sum", "lr_max")
"""Figures of a group that change from step to step (schedule-free)."""

_GROUP = "group."
_UPDATES = "average.updates"


def state_tensors(optimiser: Optimiser) -> dict[str, torch.Tensor]:
    """Return the state as `<entry>/<parameter name>` -> tensor, and a group's figures as `group.<figure>/<number>`.

    The means of an average are not in it: a checkpoint holds them as the weights that are judged.
    """
    states = [part.state for part in optimiser.parts]
    tensors = {
        f"{entry}/{name}": _as_tensor(value)
        for name, weight in optimiser.weights.items()
        for state in states
        if weight in state
        for entry, value in state[weight].items()
    }
    for number, group in enumerate(optimiser.param_groups):
        tensors |= {f"{_GROUP}{entry}/{number}": _as_tensor(group[entry]) for entry in _RUNNING if entry in group}
    if optimiser.average is not None:
        tensors[f"{_UPDATES}/0"] = _as_tensor(optimiser.average.updates)
    return tensors


def load_state_tensors(optimiser: Optimiser, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put back what `state_tensors` gave.

    Raises:
        DataError: an entry belongs to no weight of this optimiser.
    """
    owners = {id(w): (part, group) for part in optimiser.parts for group in part.param_groups for w in group["params"]}
    for part in optimiser.parts:
        part.state.clear()
    for key, tensor in tensors.items():
        entry, _, name = key.partition("/")
        if entry == _UPDATES and optimiser.average is not None:
            optimiser.average.updates = int(tensor)
        elif entry.startswith(_GROUP):
            optimiser.param_groups[int(name)][entry.removeprefix(_GROUP)] = _as_value(tensor)
        elif name in optimiser.weights:
            weight = optimiser.weights[name]
            part, group = owners[id(weight)]
            stays = entry == "step" and not group.get("fused")
            value = _as_value(tensor)
            on_device = isinstance(value, torch.Tensor) and not stays
            part.state[weight][entry] = value.to(weight.device) if on_device else value
        else:
            raise DataError(f"optimiser state {key!r}", "the state of a weight that trains", "delete the checkpoint")


def _as_tensor(value: Any) -> torch.Tensor:
    """Return a copy on the CPU; a whole number is kept as int64 and a number as float64, both without dimensions."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True).contiguous()
    return torch.tensor(value, dtype=torch.int64 if isinstance(value, int) else torch.float64)


def _as_value(tensor: torch.Tensor) -> Any:
    """Return a plain number for what was one, else a copy."""
    is_number = tensor.ndim == 0 and tensor.dtype in (torch.int64, torch.float64)
    return tensor.item() if is_number else tensor.clone()
