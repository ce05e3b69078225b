"""Train: a snapshot and a base in, a run directory out. The same call goes on where a killed one stopped."""

import dataclasses
import os
from pathlib import Path
from time import perf_counter

import torch

from metier.core import artefact, lock
from metier.core.progress import Progress
from metier.model.arithmetic import float32_means_float32
from metier.model.find import Base
from metier.model.load import device_here
from metier.train import choices, device, frozen, held_out, preferring, replay
from metier.train.assemble import disturbed, objective, order, with_states, without_states
from metier.train.finish import Ended, finish, write_settings, write_summary
from metier.train.fit import Fit
from metier.train.loading import Loaded, adapted, bare
from metier.train.loop import Arithmetic
from metier.train.material import Material, gather
from metier.train.plan import TrainingPlan
from metier.train.planning.choose import UNPLANNED_TOKENS
from metier.train.planning.run import settle
from metier.train.quiz import quiz
from metier.train.reinforcing.run import rewarded
from metier.train.sweep import auto


def train(snapshot: Path, base: Base, *, run: Path, settings: TrainingPlan, progress: Progress) -> Path:
    """Train a base on a snapshot.

    Args:
        snapshot: a prepared snapshot.
        base: as found by `model.find`.
        run: the run's folder; a finished one is returned as it is, an unfinished one goes on.
        settings: what the run is a function of.
        progress: who listens.

    Returns:
        `run`, now holding model/, parity-reference/, metrics.jsonl and summary.json.

    Raises:
        ProofError: the rendered rows would train something other than what was meant; nothing was trained.
        SettingsError: `train.check` names a metric that the validation rows do not have.
        NonFiniteError: a loss, gradient or weight is not finite.
        InterruptedRun: stopped on request after publishing a checkpoint.
        DiskFullError: no room; the last checkpoint is intact.
        LockedError: another process works on this run, or trains on this device and METIER_DEVICE_LOCK is `refuse`.
    """
    with lock.held(run):
        if (run / "summary.json").is_file() and artefact.exists(run / "model", "model"):
            return run
        started = perf_counter()
        artefact.sweep(run)
        artefact.sweep(run / "checkpoints")
        threads = choices.threads(settings.train)
        torch.set_num_threads(threads.value)
        os.environ.setdefault("RAYON_NUM_THREADS", str(threads.value))  # tokenizers make their pool at its first use
        material = gather(snapshot, base, run, settings, progress)
        asked_rows = quiz(material, settings.train.check)
        ready_at = perf_counter()
        with device.alone(device_here(), run, progress):
            started += perf_counter() - ready_at  # waiting for another training is no part of this one
            float32_means_float32()
            asked = settings
            settings, planned = settle(
                base, settings, material.train, progress, kept=choices.kept(run), view=material.view
            )
            loaded = adapted(bare(base, settings), base, settings, material, progress, run=run)
            fit = assembled(run, loaded, settings, material, progress)
            chosen = [threads, *planned, *loaded.chosen, *material.renderer.choices]
            if settings.train.learning_rate == "auto":
                fit, chosen = auto.decide(fit, chosen, progress)
            if fit.validation:
                chosen.append(held_out.loss_rows(fit.settings, material.held_out_rows, fit.order))
            for choice in chosen:
                progress.chose(choice)
            fit = dataclasses.replace(fit, quiz=asked_rows)
            write_settings(run, snapshot, base, asked, chosen)
            auto.forget(run)
            place = fit.run(progress)
            finish(Ended(run=run, model=loaded.model, base=base, settings=settings, material=material, place=place))
            artefact.remove(run / frozen.FOLDER)  # while the run is not over: what is over is not looked at again
            write_summary(run, place, fit, material, started)
    return run


def ready(run: Path, base: Base, settings: TrainingPlan, material: Material, progress: Progress) -> Fit:
    """Load and adapt the base and make the loop of a run, without starting it."""
    loaded = adapted(bare(base, settings), base, settings, material, progress, run=run)
    return assembled(run, loaded, settings, material, progress)


def assembled(
    run: Path, loaded: Loaded, settings: TrainingPlan, material: Material, progress: Progress, *,
    states: Path | None = None,
) -> Fit:  # fmt: skip
    """Put a run of the loop together; `states`: where those of frozen layers are kept, None: in the run's folder."""
    train, model, way = settings.train, loaded.model, loaded.way
    chosen = {choice.name: choice.value for choice in loaded.chosen}
    schedule = train.schedule.model_copy(update={"shape": chosen["train.schedule.shape"]})
    sizes = (material.trained_rows, len(material.general or ()))
    tokens = train.micro_batch_tokens or UNPLANNED_TOKENS
    train = train.model_copy(update={"schedule": schedule, "micro_batch_tokens": tokens})
    steps = order(train, sizes, chosen["train.epochs"], settings.seed, curriculum=material.view.curriculum)
    judged = held_out.loss_rows(train, material.held_out_rows, steps).value
    fit = Fit(
        run_folder=run,
        model=model,
        objective=objective(model, train, way, view=material.view, progress=progress),
        way=way,
        attention=disturbed(way.attention, train.regularise, material.train),
        rendered=material.train if material.general is None else replay.Mixed(material.train, material.general),
        validation=held_out.sample(material.validation, material.view.together, judged),
        order=steps,
        settings=train,
        peak_rate=chosen["train.learning_rate"],
        seed=settings.seed,
        arithmetic=Arithmetic(device=next(model.parameters()).device, bfloat16=chosen["model.precision"] == "bfloat16"),
    )
    if material.view.rewards:
        fit = without_states(fit, progress, "every answer is a new one")
        return rewarded(fit, material, folder=run.parent.parent.parent)
    if material.view.prefers:
        fit = without_states(fit, progress, "pairs are computed together, from their first layer")
        folder, quantise = states.parent if states else run, settings.model.quantise
        return preferring.compared(fit, material.train, folder=folder, quantise=quantise, progress=progress)
    if train.regularise.neftune_alpha is not None:
        return without_states(fit, progress, "with noise, what enters a layer is never the same twice")
    if not material.view.plain:
        return without_states(fit, progress, f"the objective {material.view.objective.name} reads whole models")
    return with_states(fit, settings.model.frozen_cache_gb, progress, folder=states or run / frozen.FOLDER)
