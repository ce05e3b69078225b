"""Train: a snapshot and a base in, a run directory out. The same call goes on where a killed one stopped."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from metier.core import artefact, extras, lock
from metier.core.errors import DataError
from metier.core.progress import Progress, Silent
from metier.core.types import Reasoned, Row, TextRow
from metier.forest.way import Way, probe
from metier.model.adapt import adapt, choose_method, count_parameters
from metier.model.find import Base
from metier.model.head import give_head, require_own_tokens
from metier.model.load import device_here, load_base
from metier.model.save import save_trained
from metier.text import targets
from metier.text.context import saved
from metier.text.render import Renderer, open_renderer
from metier.text.rendered import Rendered, render_rows
from metier.text.rows import load_split
from metier.train import checkpoint, choices, head_start, reference, replay, views
from metier.train.assemble import disturbed, objective, order
from metier.train.fit import Fit, peak_memory_bytes
from metier.train.loop import Arithmetic
from metier.train.plan import TrainingPlan
from metier.train.teaching import answered
from metier.train.views import View

_VALIDATION_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a run learns from: both splits rendered, and the held-out rows (the training rows where there are none).

    `general`: the rows that are replayed; None without replay.
    """

    renderer: Renderer
    train: Rendered
    validation: Rendered
    rows: list[Row]
    plain_text: bool
    general: Rendered | None = None
    view: View


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loaded:
    """A base with what trains in it, how it is computed, and the choices that depended on it."""

    model: torch.nn.Module
    way: Way
    chosen: list[Reasoned]


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
        NonFiniteError: a loss, gradient or weight is not finite.
        InterruptedRun: stopped on request after publishing a checkpoint.
        DiskFullError: no room; the last checkpoint is intact.
    """
    with lock.held(run):
        if (run / "summary.json").is_file() and artefact.exists(run / "model", "model"):
            return run
        started = perf_counter()
        artefact.sweep(run)
        artefact.sweep(run / "checkpoints")
        threads = choices.threads(settings.train)
        torch.set_num_threads(threads.value)
        material = gather(snapshot, base, run, settings, progress)
        loaded = _load(run, base, settings, material, progress)
        chosen = loaded.chosen
        for choice in (threads, *chosen, *material.renderer.choices):
            progress.chose(choice)
        _write_settings(run, snapshot, base, settings, [threads, *chosen, *material.renderer.choices])
        fit = _fit(run, loaded, settings, material, progress)
        place = fit.run(progress)
        _finish(run, loaded.model, base, settings, material, place)
        _write_summary(run, place, fit, material, started)
    return run


def gather(snapshot: Path, base: Base, run: Path, settings: TrainingPlan, progress: Progress) -> Material:
    """Load, prove and render the rows of a snapshot; rendered rows are cached beside the runs."""
    renderer = open_renderer(base.folder, settings.text)
    rows = load_split(snapshot, "train")
    if not rows:
        raise DataError(f"{snapshot}: no training rows", "at least one", "look at dropped.jsonl there")
    found = views.view(settings.train.objective, rows, renderer)
    views.require_alone(found, settings.train.regularise)
    validation = load_split(snapshot, "validation")
    if found.targets is not None:
        extras.require("heads")  # the evaluation will want it: better to hear of it now
        for split, held_out in (("validation", validation), ("test", load_split(snapshot, "test"))):
            views.require_known_labels(found, held_out, split)
    digest = artefact.read(snapshot, "snapshot").digest
    regularise = settings.train.regularise

    def render(part: list[Row], split: str) -> Rendered:
        name = f"{digest}/{split}"
        if found.generates:
            target = run / f"teacher-{split}"
            part = answered(part, found.teacher, base, target=target, seed=settings.seed, progress=progress)
            name += f"/{artefact.read(target).digest}"
        return views.render(
            found, part, store=run.parent.parent, digest=name, progress=progress, prove=split == "train"
        )

    return Material(
        renderer=found.renderer,
        general=replay.render_general(regularise, renderer, progress) if regularise.replay else None,
        train=render(rows, "train"),
        validation=render(validation, "validation"),
        rows=[found.seen(row) for row in validation or rows],
        plain_text=all(isinstance(row, TextRow) for row in rows),
        view=found,
    )


def _load(run: Path, base: Base, settings: TrainingPlan, material: Material, progress: Progress) -> Loaded:
    """Load and adapt the base."""
    device = device_here()
    views.require_teacher(material.view, base)
    model = load_base(base, device=device, seed=settings.seed)
    parameters = count_parameters(model)
    method, method_choice = choose_method(model, base, settings.model)
    way = probe(model)
    chosen = [
        material.view.choice,
        method_choice,
        choices.precision(settings.model, device),
        choices.learning_rate(settings.train, method, parameters),
        choices.shape(settings.train),
        choices.epochs(settings.train, len(material.train), plain_text=material.plain_text),
        way.reasoned(),
    ]
    if material.view.targets is not None:
        model = give_head(model, material.view.targets)
        rows = (material.train, material.validation)
        chosen.append(head_start.start(model, material.view.targets.kind, run, rows=rows, progress=progress))
    adapted = adapt(model, base, method, settings.model, seed=settings.seed)
    require_own_tokens(adapted)
    if settings.model.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    trained = count_parameters(adapted, trained_only=True)
    share = 100 * trained / count_parameters(adapted)
    progress.say(
        f"{trained / 1e6:.2f} million of {count_parameters(adapted) / 1e6:.2f} million numbers train ({share:.1f} %)"
    )
    return Loaded(model=adapted, way=way, chosen=chosen)


def _fit(run: Path, loaded: Loaded, settings: TrainingPlan, material: Material, progress: Progress) -> Fit:
    train, model, way = settings.train, loaded.model, loaded.way
    chosen = {choice.name: choice.value for choice in loaded.chosen}
    schedule = train.schedule.model_copy(update={"shape": chosen["train.schedule.shape"]})
    sizes = (len(material.train), len(material.general or ()))
    return Fit(
        run_folder=run,
        model=model,
        objective=objective(model, train, way, view=material.view, progress=progress),
        way=way,
        attention=disturbed(way.attention, train.regularise, material.train),
        rendered=material.train if material.general is None else replay.Mixed(material.train, material.general),
        validation=_validation_sample(material.validation),
        order=order(train, sizes, chosen["train.epochs"], settings.seed),
        settings=train.model_copy(update={"schedule": schedule}),
        peak_rate=chosen["train.learning_rate"],
        seed=settings.seed,
        arithmetic=Arithmetic(device=next(model.parameters()).device, bfloat16=chosen["model.precision"] == "bfloat16"),
    )


def _validation_sample(rendered: Rendered) -> list[Any]:
    """Return at most 256 validation sequences, evenly spread, so that a check costs seconds on any data."""
    count = min(_VALIDATION_ROWS, len(rendered))
    return [rendered.sequence(place * len(rendered) // count) for place in range(count)]


def _finish(
    run: Path, model: torch.nn.Module, base: Base, settings: TrainingPlan, material: Material, place: checkpoint.Place
) -> None:
    """Restore the best weights (an average where one is kept), record what they answer, and publish them."""
    best = place.step if place.best_step is None else place.best_step
    checkpoint.load_judged(checkpoint.folder(run, best), model)
    source = material.validation if len(material.validation) else material.train
    if material.view.generates:  # the certificate speaks of the rows of the snapshot
        source = render_rows(material.rows[:64], material.renderer, Silent())
    sequences = [source.sequence(index) for index in range(min(len(source), 64))]
    reference.record(run, model, sequences, material.rows, material.renderer)
    facts = {"base": base.name, "base_digest": base.digest, "step": place.best_step or place.step}
    with artefact.publish(run / "model", kind="model", facts=facts) as folder:
        save_trained(model, base, folder, precision=settings.model.save_precision)
        (folder / "chat_template.jinja").write_text(material.renderer.template.source, encoding="utf-8")
        if material.view.targets is not None:
            targets.write(material.view.targets, folder)


def _write_settings(run: Path, snapshot: Path, base: Base, settings: TrainingPlan, chosen: list[Reasoned]) -> None:
    facts = {
        "snapshot": str(snapshot.resolve()),
        "base": {"name": base.name, "kind": base.kind, "folder": str(base.folder), "digest": base.digest},
        "plan": settings.as_dict(),
    }
    artefact.write_file(run / "settings.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    artefact.write_file(run / "choices.json", json.dumps([asdict(choice) for choice in chosen], indent=1) + "\n")


def _write_summary(run: Path, place: checkpoint.Place, fit: Fit, material: Material, started: float) -> None:
    facts = {
        "steps": place.step,
        "planned_steps": fit.order.steps,
        "epochs": fit.order.epoch(place.step - 1),
        "rows": len(material.train),
        "tokens": place.tokens,
        "seconds": place.seconds,
        "seconds_with_loading": perf_counter() - started,
        "best_step": place.best_step,
        "best_validation_loss": place.best_loss,
        "stopped_early": place.stopped,
        "refused_steps": place.refused,
        "peak_memory_bytes": peak_memory_bytes(),
        "threads": torch.get_num_threads(),
        "device": fit.arithmetic.device.type,
        "torch": torch.__version__,
    } | (saved(material.train).as_dict() if material.view.distils else {})
    artefact.write_file(run / "summary.json", json.dumps(facts, indent=1) + "\n")
