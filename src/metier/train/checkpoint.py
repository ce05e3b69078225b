"""Checkpoints: the weights that train, the optimiser and where we are, as safetensors and JSON, published whole."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from metier.core import artefact
from metier.core.errors import DataError, NonFiniteError
from metier.train.optimiser import load_state_tensors, state_tensors, trained_parameters

_KIND = "checkpoint"
_KEEP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run is: steps done, the best check so far, checks since it, tokens and seconds spent."""

    step: int = 0
    best_step: int | None = None
    best_loss: float | None = None
    worse_checks: int = 0
    stopped: bool = False
    tokens: int = 0
    seconds: float = 0.0


def folder(run: Path, step: int) -> Path:
    """Return where the checkpoint of a step stands."""
    return run / "checkpoints" / f"step-{step:08d}"


def save(run: Path, model: torch.nn.Module, optimiser: torch.optim.Optimizer, place: Place) -> None:
    """Publish a checkpoint, then delete those that are neither the best nor among the newest two.

    Raises:
        NonFiniteError: a weight is not finite; nothing is published.
        DiskFullError: no room; the earlier checkpoints are intact.
    """
    weights = {name: weight.detach().cpu().contiguous() for name, weight in trained_parameters(model).items()}
    for name, weight in weights.items():
        if not bool(torch.isfinite(weight).all()):
            raise NonFiniteError(f"weight {name} is not finite after step {place.step}", "finite weights")
    state = state_tensors(optimiser, model)
    target = folder(run, place.step)
    needed = sum(tensor.numel() * tensor.element_size() for tensor in [*weights.values(), *state.values()])
    artefact.require_space(target, needed + (1 << 20))
    with artefact.publish(target, kind=_KIND, facts=dataclasses.asdict(place)) as directory:
        save_file(weights, str(directory / "trained.safetensors"))
        save_file(state, str(directory / "optimiser.safetensors"))
        (directory / "place.json").write_text(json.dumps(dataclasses.asdict(place)) + "\n", encoding="utf-8")
    _prune(run, place)


def newest(run: Path) -> Path | None:
    """Return the newest checkpoint that is whole, or None; damaged ones are passed over for the one before."""
    for candidate in sorted((run / "checkpoints").glob("step-*"), reverse=True):
        try:
            artefact.verify(candidate, _KIND)
        except DataError:
            continue
        return candidate
    return None


def load(directory: Path, model: torch.nn.Module, optimiser: torch.optim.Optimizer | None) -> Place:
    """Put weights (and the optimiser's state) back as they were when the checkpoint was published.

    Raises:
        DataError: the checkpoint is damaged or belongs to another model.
    """
    artefact.verify(directory, _KIND)
    tensors = load_file(str(directory / "trained.safetensors"))
    weights = trained_parameters(model)
    if tensors.keys() != weights.keys():
        raise DataError(
            f"{directory}: other weights than this run trains", "a checkpoint of this run", f"delete {directory}"
        )
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(tensors[name])
    if optimiser is not None:
        load_state_tensors(optimiser, model, load_file(str(directory / "optimiser.safetensors")))
    return Place(**json.loads((directory / "place.json").read_text(encoding="utf-8")))


def _prune(run: Path, place: Place) -> None:
    steps = sorted(int(path.name.removeprefix("step-")) for path in (run / "checkpoints").glob("step-*"))
    keep = {*steps[-_KEEP:], place.best_step}
    for step in steps:
        if step not in keep:
            artefact.remove(folder(run, step))
