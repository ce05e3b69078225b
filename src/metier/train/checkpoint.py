"""Checkpoints: the weights that train, the optimiser and where we are, as safetensors and JSON, published whole."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from metier.core import artefact, room
from metier.core.errors import DataError, NonFiniteError
from metier.train.optimisers.groups import trained_parameters
from metier.train.optimisers.optimiser import Optimiser
from metier.train.optimisers.state import load_state_tensors, state_tensors

_KIND = "checkpoint"
_KEEP = 2
_JUDGED = "trained.safetensors"
"""The weights that are measured and saved; those that take steps too, unless there is an average."""

_STEPPED = "stepped.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run is: steps done, the best check so far, checks since it, tokens and seconds spent.

    `best_value` is what the best check was chosen by, `best_loss` its validation loss: the same if the loss decides.
    `ended_epochs`: steps after which the last epochs ended, of those whose models are kept.
    For the guard: `scheduled_step` is that of the last checkpoint that the settings (not an interruption) asked for,
    `recent_losses` those of the last steps taken, `refused` counts steps not taken, `rate_share` multiplies the rate.
    """

    step: int = 0
    best_step: int | None = None
    best_loss: float | None = None
    best_value: float | None = None
    worse_checks: int = 0
    stopped: bool = False
    tokens: int = 0
    seconds: float = 0.0
    scheduled_step: int | None = None
    recent_losses: tuple[float, ...] = ()
    ended_epochs: tuple[int, ...] = ()
    refused: int = 0
    refused_in_a_row: int = 0
    rate_share: float = 1.0


def folder(run: Path, step: int) -> Path:
    """Return where the checkpoint of a step stands."""
    return run / "checkpoints" / f"step-{step:08d}"


def save(run: Path, optimiser: Optimiser, place: Place) -> None:
    """Publish a checkpoint, then delete those that nothing can need any more.

    Raises:
        NonFiniteError: a weight is not finite; nothing is published.
        DiskFullError: no room; the earlier checkpoints are intact.
    """
    files = {_JUDGED: _on_cpu(optimiser.weights), "optimiser.safetensors": state_tensors(optimiser)}
    if optimiser.averages:
        files[_STEPPED] = files[_JUDGED]
        with optimiser.judged():
            files[_JUDGED] = {name: weight.clone() for name, weight in _on_cpu(optimiser.weights).items()}
    for name, weight in files[_JUDGED].items():
        if not bool(torch.isfinite(weight).all()):
            raise NonFiniteError(f"weight {name} is not finite after step {place.step}", "finite weights")
    target = folder(run, place.step)
    needed = sum(tensor.numel() * tensor.element_size() for file in files.values() for tensor in file.values())
    room.require(target, needed + (1 << 20))
    with artefact.publish(target, kind=_KIND, facts=dataclasses.asdict(place)) as directory:
        for name, tensors in files.items():
            save_file(tensors, str(directory / name))
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


def load(directory: Path, optimiser: Optimiser) -> Place:
    """Put weights, their average and the optimiser's state back as they were when the checkpoint was published.

    Raises:
        DataError: the checkpoint is damaged or belongs to another model.
    """
    artefact.verify(directory, _KIND)
    judged = _read(directory, _JUDGED, optimiser.weights)
    stepped = _read(directory, _STEPPED, optimiser.weights) if optimiser.averages else judged
    _put(stepped, optimiser.weights)
    if optimiser.average is not None:
        _put(judged, optimiser.average.means)
    load_state_tensors(optimiser, load_file(str(directory / "optimiser.safetensors")))
    facts = artefact.read_json(directory / "place.json")
    series = {name: tuple(facts.get(name, ())) for name in ("recent_losses", "ended_epochs")}
    return Place(**(facts | series))


def load_judged(directory: Path, model: torch.nn.Module) -> None:
    """Put the weights into the model that were measured at this checkpoint, for saving them.

    Raises:
        DataError: the checkpoint is damaged or belongs to another model.
    """
    artefact.verify(directory, _KIND)
    weights = trained_parameters(model)
    _put(_read(directory, _JUDGED, weights), weights)


def _on_cpu(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}


def _read(directory: Path, file: str, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    tensors = load_file(str(directory / file))
    if tensors.keys() != weights.keys():
        raise DataError(
            f"{directory}: other weights than this run trains", "a checkpoint of this run", f"delete {directory}"
        )
    return tensors


@torch.no_grad()
def _put(tensors: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> None:
    for name, weight in weights.items():
        weight.copy_(tensors[name])


def _prune(run: Path, place: Place) -> None:
    steps = sorted(int(path.name.removeprefix("step-")) for path in (run / "checkpoints").glob("step-*"))
    keep = {*steps[-_KEEP:], *place.ended_epochs, place.best_step, place.scheduled_step}
    for step in steps:
        if step not in keep:
            artefact.remove(folder(run, step))
