"""What the base gives both answers of every preference, computed once before a run and kept with it."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from metier.core import artefact, digest
from metier.core.progress import Progress
from metier.forest.read import row_losses
from metier.model.quantise.freeze import Quantisation
from metier.model.ways.off import adapter_off, keeps_base
from metier.text.rendered import Rendered, columns
from metier.train.batches import Ordered
from metier.train.fit import Fit
from metier.train.objectives.prefer import TOGETHER

_KIND = "preference-reference"
_FILE = "reference.safetensors"


class Pairs:
    """An order of preferences as the order of their sequences.

    Args:
        rows: the order of the preferences.
    """

    def __init__(self, rows: Ordered) -> None:
        self._rows = rows

    @property
    def steps(self) -> int:
        """Number of steps in the run."""
        return self._rows.steps

    def step(self, step: int) -> list[int]:
        """Return the numbers of a step's sequences, those of a row side by side."""
        return [TOGETHER * row + place for row in self._rows.step(step) for place in range(TOGETHER)]

    def epoch(self, step: int) -> float:
        """Return how many epochs lie behind us after a step."""
        return self._rows.epoch(step)


def compared(fit: Fit, rendered: Rendered, *, folder: Path, quantise: Quantisation, progress: Progress) -> Fit:
    """Return a run of the loop over pairs, each of which knows what the base gives its answers.

    Args:
        fit: the run, its order that of the rows; its model before the first step.
        rendered: its pairs.
        folder: where what the base says is kept; trials of a sweep may share it.
        quantise: the base's number format: in another it says something else.
        progress: who listens.
    """
    held_out = columns(fit.validation, ())
    train, validation = (
        judged(part, fit, target=folder / f"base-prefers-{split}", quantise=quantise, progress=progress)
        for split, part in (("train", rendered), ("validation", held_out))
    )
    sample = [validation.sequence(number) for number in range(len(validation))]
    return replace(fit, rendered=train, validation=sample, order=Pairs(fit.order), together=TOGETHER)


def judged(rendered: Rendered, fit: Fit, *, target: Path, quantise: Quantisation, progress: Progress) -> Rendered:
    """Return pairs with what the base gives every answer: its log-probability in nats, as targets float32 [2 P, 1].

    Args:
        rendered: the pairs.
        fit: the run, its model before the first step; an adapter is switched off.
        target: where the numbers are kept, so that a run that goes on compares with the same ones.
        quantise: the base's number format.
        progress: who listens.
    """
    rows = digest.of_bytes(rendered.ids.tobytes() + rendered.weights.tobytes() + rendered.offsets.tobytes())
    facts = {"rows": rows, "quantise": quantise, "bfloat16": fit.arithmetic.bfloat16}
    if not artefact.exists(target, _KIND) or artefact.read(target, _KIND).facts != facts:
        found = _asked(rendered, fit, progress)
        with artefact.publish(target, kind=_KIND, facts=facts) as folder:
            save_file({"nats": found}, folder / _FILE)
    artefact.verify(target, _KIND)
    return replace(rendered, targets=load_file(target / _FILE)["nats"])


def _asked(rendered: Rendered, fit: Fit, progress: Progress) -> np.ndarray:
    """Return log-probabilities float32 [2 P, 1] of the answers, each of its tokens counting once."""
    sequences = [rendered.sequence(number) for number in range(len(rendered))]
    counted = [replace(each, weights=(each.weights > 0).astype(np.float32)) for each in sequences]
    model = fit.model
    was_training = model.training
    model.eval()
    try:
        with adapter_off(model) if keeps_base(model) else nullcontext(), fit.arithmetic.autocast():
            losses = row_losses(model, counted, progress=progress, way=fit.way)
    finally:
        model.train(was_training)
    return -np.array([nats for nats, _ in losses], np.float32)[:, None]
