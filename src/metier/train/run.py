"""Train: a snapshot and a base in, a run directory out. The same call goes on where a killed one stopped."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from metier.core import artefact, lock
from metier.core.errors import DataError
from metier.core.progress import Progress
from metier.core.types import Reasoned, Row, TextRow
from metier.forest.way import Way, probe
from metier.model.adapt import adapt, choose_method, count_parameters
from metier.model.find import Base
from metier.model.load import device_here, load_base
from metier.model.save import save_trained
from metier.text.proof import check
from metier.text.render import Renderer, open_renderer
from metier.text.rendered import Rendered, cache_key, cached, render_rows
from metier.text.rows import load_split
from metier.train import checkpoint, choices, reference
from metier.train.batches import Order
from metier.train.fit import Fit, peak_memory_bytes
from metier.train.loop import Arithmetic
from metier.train.objectives.supervised import Supervised
from metier.train.plan import TrainingPlan
from metier.train.planning.run import settle

_VALIDATION_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a run learns from: both splits rendered, and the held-out rows (the training rows where there are none)."""

    renderer: Renderer
    train: Rendered
    validation: Rendered
    rows: list[Row]
    plain_text: bool


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
        asked = settings
        settings, planned = _settled(run, base, settings, material, progress)
        model, way, chosen = _load(base, settings, material, progress)
        for choice in (threads, *chosen, *material.renderer.choices):
            progress.chose(choice)
        _write_settings(run, snapshot, base, asked, [threads, *planned, *chosen, *material.renderer.choices])
        fit = _fit(run, model, way, settings, material, chosen={choice.name: choice.value for choice in chosen})
        place = fit.run(progress)
        _finish(run, model, base, settings, material, place)
        _write_summary(run, place, fit, material, started)
    return run


def _settled(
    run: Path, base: Base, settings: TrainingPlan, material: Material, progress: Progress
) -> tuple[TrainingPlan, list[Reasoned]]:
    """Fix what the planner chooses; a run that goes on keeps what it began with, whatever memory is free now."""
    names = ("train.micro_batch_tokens", "model.gradient_checkpointing")
    path = run / "choices.json"
    entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    before = {entry["name"]: entry["value"] for entry in entries}
    if all(name in before for name in names):
        tokens, checkpointing = (before[name] for name in names)
        reason = "as this run began"
    else:
        tokens, checkpointing = settle(base, settings, material.train, progress)
        reason = "planned"
    fixed = replace(
        settings,
        train=settings.train.model_copy(update={"micro_batch_tokens": tokens}),
        model=settings.model.model_copy(update={"gradient_checkpointing": checkpointing}),
    )
    values = zip(names, (tokens, checkpointing), strict=True)
    return fixed, [Reasoned(name=name, value=value, reason=reason) for name, value in values]


def gather(snapshot: Path, base: Base, run: Path, settings: TrainingPlan, progress: Progress) -> Material:
    """Load, prove and render the rows of a snapshot; rendered rows are cached beside the runs."""
    renderer = open_renderer(base.folder, settings.text)
    rows = load_split(snapshot, "train")
    if not rows:
        raise DataError(f"{snapshot}: no training rows", "at least one", "look at dropped.jsonl there")
    store = run.parent.parent
    digest = artefact.read(snapshot, "snapshot").digest
    validation = load_split(snapshot, "validation")
    rendered = cached(store, cache_key(f"{digest}/train", renderer), lambda: render_rows(rows, renderer, progress))
    check(rows, renderer, rendered=rendered, progress=progress).raise_if_broken()
    held_out = cached(
        store, cache_key(f"{digest}/validation", renderer), lambda: render_rows(validation, renderer, progress)
    )
    return Material(
        renderer=renderer,
        train=rendered,
        validation=held_out,
        rows=validation or rows,
        plain_text=all(isinstance(row, TextRow) for row in rows),
    )


def _load(
    base: Base, settings: TrainingPlan, material: Material, progress: Progress
) -> tuple[torch.nn.Module, Way, list[Reasoned]]:
    """Load and adapt the base; returns it with how it is computed and the choices that depend on it."""
    device = device_here()
    model = load_base(base, device=device, seed=settings.seed)
    parameters = count_parameters(model)
    method, method_choice = choose_method(model, base, settings.model)
    way = probe(model)
    chosen = [
        method_choice,
        choices.precision(settings.model, device),
        choices.learning_rate(settings.train, method, parameters),
        choices.epochs(settings.train, len(material.train), plain_text=material.plain_text),
        way.reasoned(),
    ]
    adapted = adapt(model, base, method, settings.model, seed=settings.seed)
    if settings.model.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    trained = count_parameters(adapted, trained_only=True)
    share = 100 * trained / count_parameters(adapted)
    progress.say(
        f"{trained / 1e6:.2f} million of {count_parameters(adapted) / 1e6:.2f} million numbers train ({share:.1f} %)"
    )
    return adapted, way, chosen


def _fit(
    run: Path, model: torch.nn.Module, way: Way, settings: TrainingPlan, material: Material, *, chosen: dict[str, Any]
) -> Fit:
    rows = len(material.train)
    total_rows = max(1, round(chosen["train.epochs"] * rows))
    if settings.train.max_steps is not None:
        total_rows = min(total_rows, settings.train.max_steps * settings.train.rows_per_step)
    device = next(model.parameters()).device
    return Fit(
        run_folder=run,
        model=model,
        objective=Supervised(way),
        way=way,
        rendered=material.train,
        validation=_validation_sample(material.validation),
        order=Order(rows, settings.train.rows_per_step, total_rows, settings.seed),
        settings=settings.train,
        peak_rate=chosen["train.learning_rate"],
        seed=settings.seed,
        arithmetic=Arithmetic(device=device, bfloat16=chosen["model.precision"] == "bfloat16"),
    )


def _validation_sample(rendered: Rendered) -> list[Any]:
    """Return at most 256 validation sequences, evenly spread, so that a check costs seconds on any data."""
    count = min(_VALIDATION_ROWS, len(rendered))
    return [rendered.sequence(place * len(rendered) // count) for place in range(count)]


def _finish(
    run: Path, model: torch.nn.Module, base: Base, settings: TrainingPlan, material: Material, place: checkpoint.Place
) -> None:
    """Restore the best weights, record what they answer, and publish them."""
    best = checkpoint.folder(run, place.best_step) if place.best_step is not None else None
    if best is not None and place.best_step != place.step:
        checkpoint.load(best, model, None)
    source = material.validation if len(material.validation) else material.train
    sequences = [source.sequence(index) for index in range(min(len(source), 64))]
    reference.record(run, model, sequences, material.rows, material.renderer)
    facts = {"base": base.name, "base_digest": base.digest, "step": place.best_step or place.step}
    with artefact.publish(run / "model", kind="model", facts=facts) as folder:
        save_trained(model, base, folder, precision=settings.model.save_precision)
        (folder / "chat_template.jinja").write_text(material.renderer.template.source, encoding="utf-8")


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
        "peak_memory_bytes": peak_memory_bytes(),
        "threads": torch.get_num_threads(),
        "device": fit.arithmetic.device.type,
        "torch": torch.__version__,
    }
    artefact.write_file(run / "summary.json", json.dumps(facts, indent=1) + "\n")
