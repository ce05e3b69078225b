"""What a run leaves behind: its settings and choices when it begins, the best weights and a summary when it ends."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from metier.core import artefact
from metier.core.progress import Silent
from metier.core.types import Reasoned
from metier.model.find import Base
from metier.model.save import save_trained
from metier.text import targets
from metier.text.context import saved
from metier.text.rendered import render_rows
from metier.train import checkpoint, reference
from metier.train.fit import Fit
from metier.train.material import Material
from metier.train.memory import peak_memory_bytes
from metier.train.overfitting import explained
from metier.train.plan import TrainingPlan
from metier.train.reinforcing.run import certified

EPOCHS = "epochs"
"""Folder in a run of the models of its last epochs, by the step after which each ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A run whose last step was taken: its model in memory, and what that is published with."""

    run: Path
    model: torch.nn.Module
    base: Base
    settings: TrainingPlan
    material: Material
    place: checkpoint.Place


def finish(ended: Ended) -> None:
    """Restore the best weights (an average where one is kept), record what they answer, and publish them.

    Before them the models of the epochs that are kept; each stands in a folder that is laid out as a run.
    """
    run, place = ended.run, ended.place
    for step in place.ended_epochs:
        folder = run / EPOCHS / str(step)
        checkpoint.load_judged(checkpoint.folder(run, step), ended.model)
        _publish(ended, folder, step)
        shutil.copyfile(run / "settings.json", folder / "settings.json")
        artefact.write_file(folder / "summary.json", json.dumps({"step": step}) + "\n")
    best = place.step if place.best_step is None else place.best_step
    checkpoint.load_judged(checkpoint.folder(run, best), ended.model)
    record(run, ended.model, ended.material)
    _publish(ended, run, place.best_step or place.step)


def _publish(ended: Ended, target: Path, step: int) -> None:
    """Publish the model as it is in memory, with what it needs to be served."""
    base, settings, view = ended.base, ended.settings, ended.material.view
    facts: dict[str, Any] = {"base": base.name, "base_digest": base.digest, "step": step}
    if settings.model.quantise != "none":
        facts["quantise"] = settings.model.quantise
    with artefact.publish(target / "model", kind="model", facts=facts) as folder:
        save_trained(ended.model, base, folder, precision=settings.model.save_precision)
        template = ended.material.renderer.template.source
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
        if view.targets is not None:
            targets.write(view.targets, folder)


def record(run: Path, model: torch.nn.Module, material: Material) -> None:
    """Publish what a model answers to some of its rows, which its certificate compares with."""
    source = material.validation if len(material.validation) else material.train
    if material.view.generates or material.view.prefers:  # the certificate speaks of the rows of the snapshot
        source = render_rows(material.rows[:64], material.renderer, Silent())
    sequences = [source.sequence(index) for index in range(min(len(source), 64))]
    if material.view.rewards:  # there are no answers but the model's own
        sequences = certified(model, material)
    reference.record(run, model, sequences, material.rows, material.renderer, own_answers=material.view.rewards)


def write_settings(run: Path, snapshot: Path, base: Base, settings: TrainingPlan, chosen: list[Reasoned]) -> None:
    """Write what a run is a function of, as asked for, and what was chosen for it with the reasons."""
    facts = {
        "snapshot": str(snapshot.resolve()),
        "base": {"name": base.name, "kind": base.kind, "folder": str(base.folder), "digest": base.digest},
        "plan": settings.as_dict(),
    }
    artefact.write_file(run / "settings.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    artefact.write_file(run / "choices.json", json.dumps([asdict(choice) for choice in chosen], indent=1) + "\n")


def write_summary(run: Path, place: checkpoint.Place, fit: Fit, material: Material, started: float) -> None:
    """Write what a run took and reached; its existence says that the run has ended."""
    overfitted = explained(run / "metrics.jsonl", fit.settings.patience)
    facts = {
        "steps": place.step,
        "planned_steps": fit.order.steps,
        "epochs": fit.order.epoch(place.step - 1),
        "rows": material.trained_rows,
        "tokens": place.tokens,
        "seconds": place.seconds,
        "seconds_with_loading": perf_counter() - started,
        "held_out_rows": material.held_out_rows,
        "measured_rows": len(fit.validation) // fit.together,
        "best_step": place.best_step,
        "best_validation_loss": place.best_loss,
        "best_by": best_by(fit),
        "best_value": place.best_value,
        "overfitting": None if overfitted is None else overfitted.text,
        "stopped_early": place.stopped and place.step < fit.order.steps,
        "refused_steps": place.refused,
        "peak_memory_bytes": peak_memory_bytes(),
        "threads": torch.get_num_threads(),
        "device": fit.arithmetic.device.type,
        "torch": torch.__version__,
    } | (saved(material.train).as_dict() if material.view.distils else {})
    artefact.write_file(run / "summary.json", json.dumps(facts, indent=1) + "\n")


def best_by(fit: Fit) -> str:
    """Return what said which step was the best: a metric of answers, the reward or the loss."""
    if fit.quiz is not None and fit.settings.check.best != "loss":
        return fit.settings.check.best
    return "loss" if fit.maker is None else "reward"
