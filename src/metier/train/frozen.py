"""Keep what enters the lowest layer that trains, on disk, once for a whole run; give every forest its part of it.

Shapes: R = sequences, N = tokens of a forest, E = hidden width.
"""

import os
from collections.abc import Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from metier.core import artefact
from metier.core.progress import Progress
from metier.core.types import Reasoned, Sequence
from metier.forest.arrange import Arrangement
from metier.forest.descend import descend
from metier.forest.forest import Forest, Trunk
from metier.forest.frozen import above, lowest_trained, states_below
from metier.forest.grow import needed
from metier.forest.way import Way
from metier.model.quiet import LIBRARY_FAULTS
from metier.train.loop import Arithmetic

FOLDER = "frozen"
"""Where in a run's folder the states lie until it is finished."""

CHOICE = "frozen layers"
"""What the choice is called."""
_KIND = "frozen-states"
TOLERANCE = 1e-3
"""Nats by which a loss from kept states may differ from the whole computation; rounding is a hundred times smaller."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Frozen:
    """States that enter `layer` [sum of needed tokens, E], memory-mapped; those of sequence r begin at `offsets[r]`."""

    layer: int
    states: np.ndarray
    offsets: np.ndarray

    def give(self, work: Arrangement, rows: Many[int]) -> Arrangement:
        """Return an arrangement of the sequences `rows` whose forests know what enters the lowest layer that trains."""
        known: dict[Trunk, Trunk] = {}
        for trunk in work.trunks:
            known[trunk] = trunk.again(_beneath(self._known(trunk.forest, rows), known))
        forests = tuple(
            (places, _beneath(self._known(forest, [rows[place] for place in places]), known))
            for places, forest in work.forests
        )
        return Arrangement(forests=forests)

    def _known(self, forest: Forest, rows: Many[int]) -> Forest:
        places = self.offsets[np.asarray(rows)[forest.owner.numpy()]] + forest.positions[0].numpy()
        return replace(forest, states=torch.from_numpy(self.states[places])[None])


def _beneath(forest: Forest, trunks: Mapping[Trunk, Trunk]) -> Forest:
    """Return a forest that hangs from another trunk in the place of its own."""
    return forest if forest.trunk is None else replace(forest, trunk=trunks[forest.trunk])


def size_bytes(sequences: Many[Sequence], width: int) -> int:
    """Return what the states of all sequences take on disk."""
    return 4 * width * sum(needed(sequence) for sequence in sequences)


def keep(
    folder: Path, model: torch.nn.Module, way: Way, sequences: Many[Sequence], *, arithmetic: Arithmetic,
    progress: Progress,
) -> Frozen:  # fmt: skip
    """Compute and publish the states of all sequences, or open those that an earlier call published.

    Args:
        folder: of the artefact.
        model: with its weights marked; its frozen layers are never written to, so the states stay true.
        way: how it is computed.
        sequences: all that the run will read, in a fixed order.
        arithmetic: of the run.
        progress: told of every sequence.
    """
    layer = lowest_trained(model)
    lengths = [needed(sequence) for sequence in sequences]
    offsets = np.concatenate([[0], np.cumsum(lengths)])[:-1].astype(np.int64)
    if not artefact.exists(folder, _KIND):
        was_training = model.training
        model.eval()
        with artefact.publish(folder, kind=_KIND, facts={"layer": layer}) as made:
            _compute(made / "states.npy", model, way, sequences, arithmetic=arithmetic, progress=progress)
        model.train(was_training)
    states = np.load(folder / "states.npy", mmap_mode="r", allow_pickle=False)
    return Frozen(layer=layer, states=states, offsets=offsets)


def _compute(
    path: Path, model: torch.nn.Module, way: Way, sequences: Many[Sequence], *, arithmetic: Arithmetic,
    progress: Progress,
) -> None:  # fmt: skip
    lengths = [needed(sequence) for sequence in sequences]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    file: np.memmap | None = None
    layer = lowest_trained(model)
    with arithmetic.autocast(), progress.task("frozen layers", len(sequences)) as bar:
        for index, states in states_below(model, way, sequences, layer):
            if file is None:
                shape = (int(offsets[-1]), states.shape[-1])
                file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
                _claim(path)
            file[offsets[index] : offsets[index + 1]] = states.float().cpu().numpy()
            bar.advance(1)
    assert file is not None
    file.flush()


def _claim(path: Path) -> None:
    """Give a file all its room now: a mapped file for which the disk has none left kills the process without a word."""
    with path.open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)


@torch.no_grad()
def check(model: torch.nn.Module, way: Way, work: Arrangement, frozen: Frozen, rows: Many[int]) -> float:
    """Return by how many nats losses from kept states differ from those of the whole model; infinite where it fails."""
    was_training = model.training
    model.eval()
    found = []
    try:
        with way.attention(model):
            found.append(_losses(model, way, work))
            with above(model, frozen.layer):
                found.append(_losses(model, way, frozen.give(work, rows)))
    except LIBRARY_FAULTS:
        return float("inf")
    finally:
        model.train(was_training)
    return (found[0] - found[1]).abs().max().item()


def _losses(model: torch.nn.Module, way: Way, work: Arrangement) -> torch.Tensor:
    return torch.cat([way.losses(model, forest) for _, forest in descend(model, work)])


def worth(model: torch.nn.Module, sequences: Many[Sequence], *, passes: float, bound_gb: float) -> Reasoned:
    """Tell whether keeping states is possible and pays; its value is the layer to start at, 0 for not at all."""
    layer = lowest_trained(model)
    name = CHOICE
    if layer == 0:
        return Reasoned(name=name, value=0, reason="the lowest layer trains")
    if passes < 2:
        return Reasoned(name=name, value=0, reason="every row is read only once")
    width = model.get_input_embeddings().weight.shape[1]  # pyrefly: ignore
    size = size_bytes(sequences, width)
    if size > bound_gb * 1e9:
        reason = f"keeping their states takes {size / 1e9:.1f} GB, more than model.frozen_cache_gb {bound_gb:g}"
        return Reasoned(name=name, value=0, reason=reason)
    reason = f"computed once for all {passes:g} passes, {size / 1e9:.2f} GB on disk"
    return Reasoned(name=name, value=layer, reason=reason)
