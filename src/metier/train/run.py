"""Train: a snapshot and a base in, a run directory out. The same call goes on where a killed one stopped."""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from transformers import PreTrainedModel

from metier.core import artefact, extras, lock
from metier.core.errors import DataError
from metier.core.progress import Progress, Silent
from metier.core.types import Reasoned, Row, TextRow
from metier.forest.way import ALONE, Way, probe
from metier.model.adapt import adapt, choose_method, count_parameters
from metier.model.arithmetic import float32_means_float32, rates
from metier.model.find import Base
from metier.model.head import give_head, require_method
from metier.model.load import device_here, load_base
from metier.model.quantise.freeze import quantise, require_possible
from metier.model.save import save_trained
from metier.model.ways.virtual import unpackable
from metier.text import targets
from metier.text.context import saved
from metier.text.render import Renderer, open_renderer
from metier.text.rendered import Rendered, render_rows
from metier.text.rows import load_split
from metier.train import checkpoint, choices, frozen, head_start, reference, replay, views
from metier.train.assemble import disturbed, objective, order, with_states
from metier.train.fit import Fit, peak_memory_bytes
from metier.train.loop import Arithmetic
from metier.train.plan import TrainingPlan
from metier.train.planning.choose import UNPLANNED_TOKENS
from metier.train.planning.run import settle
from metier.train.sweep import auto
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
        os.environ.setdefault("RAYON_NUM_THREADS", str(threads.value))  # tokenizers make their pool at its first use
        material = gather(snapshot, base, run, settings, progress)
        float32_means_float32()
        asked = settings
        settings, planned = settle(base, settings, material.train, progress, kept=choices.kept(run), view=material.view)
        loaded = adapted(bare(base, settings), base, settings, material, progress, run=run)
        fit = assembled(run, loaded, settings, material, progress)
        chosen = [threads, *planned, *loaded.chosen, *material.renderer.choices]
        if settings.train.learning_rate == "auto":
            fit, chosen = auto.decide(fit, chosen, progress)
        for choice in chosen:
            progress.chose(choice)
        _write_settings(run, snapshot, base, asked, chosen)
        auto.forget(run)
        place = fit.run(progress)
        _finish(run, loaded.model, base, settings, material, place)
        _write_summary(run, place, fit, material, started)
        shutil.rmtree(run / frozen.FOLDER, ignore_errors=True)
    return run


def ready(run: Path, base: Base, settings: TrainingPlan, material: Material, progress: Progress) -> Fit:
    """Load and adapt the base and make the loop of a run, without starting it."""
    loaded = adapted(bare(base, settings), base, settings, material, progress, run=run)
    return assembled(run, loaded, settings, material, progress)


def gather(snapshot: Path, base: Base, run: Path, settings: TrainingPlan, progress: Progress) -> Material:
    """Load, prove and render the rows of a snapshot; rendered rows are cached beside the runs."""
    renderer = open_renderer(base.folder, settings.text)
    rows = load_split(snapshot, "train")
    if not rows:
        raise DataError(f"{snapshot}: no training rows", "at least one", "look at decisions.jsonl there")
    found = views.view(settings.train.objective, rows, renderer)
    views.require_alone(found, settings.train.regularise)
    views.require_teacher(found, base)
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


def bare(base: Base, settings: TrainingPlan) -> PreTrainedModel:
    """Load a base where it will be trained; one to be quantised stays on the CPU until then.

    Raises:
        SettingsError: this quantisation does not go with the method or the machine.
    """
    device, quantisation = device_here(), settings.model.quantise
    require_possible(quantisation, settings.model.method, device)
    return load_base(base, device=device if quantisation == "none" else torch.device("cpu"), seed=settings.seed)


def adapted(
    model: PreTrainedModel, base: Base, settings: TrainingPlan, material: Material, progress: Progress, *, run: Path
) -> Loaded:
    """Adapt a loaded base, in place, and choose what depends on it; what `run` has chosen before is not chosen anew."""
    device, quantisation = device_here(), settings.model.quantise
    parameters = count_parameters(model)
    method, method_choice = choose_method(model, base, settings.model)
    if material.view.targets is not None:
        require_method(method, settings.model)
    chosen = [
        material.view.choice,
        method_choice,
        choices.precision(settings.model, device, width=_width(model), kept=choices.kept(run), measure=rates),
        *([choices.quantise(settings.model, rates)] if quantisation != "none" else []),
        choices.learning_rate(settings.train, method, parameters),
        choices.shape(settings.train),
        choices.epochs(settings.train, len(material.train), plain_text=material.plain_text),
    ]
    if material.view.targets is not None:
        model = give_head(model, material.view.targets)
        rows = (material.train, material.validation)
        chosen.append(head_start.start(model, material.view.targets.kind, run, rows=rows, progress=progress))
    tuned = adapt(model, base, method, settings.model, seed=settings.seed)
    way, how = _way(tuned)
    chosen.append(how)
    trained = count_parameters(tuned, trained_only=True)
    whole = count_parameters(tuned)
    tuned = quantise(tuned, quantisation, device)
    if settings.model.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    share = 100 * trained / whole
    progress.say(f"{trained / 1e6:.2f} million of {whole / 1e6:.2f} million numbers train ({share:.1f} %)")
    return Loaded(model=tuned, way=way, chosen=chosen)


def _width(model: PreTrainedModel) -> int:
    return model.config.get_text_config().hidden_size


def _way(model: torch.nn.Module) -> tuple[Way, Reasoned]:
    """Find out how an adapted model is computed: what was added to the base may mix rows, or change its head."""
    if reason := unpackable(model):
        return ALONE, Reasoned(name="forest", value="one by one", reason=reason)
    way = probe(model)
    return way, way.reasoned()


def assembled(
    run: Path, loaded: Loaded, settings: TrainingPlan, material: Material, progress: Progress, *,
    states: Path | None = None,
) -> Fit:  # fmt: skip
    """Put a run of the loop together; `states`: where those of frozen layers are kept, None: in the run's folder."""
    train, model, way = settings.train, loaded.model, loaded.way
    chosen = {choice.name: choice.value for choice in loaded.chosen}
    schedule = train.schedule.model_copy(update={"shape": chosen["train.schedule.shape"]})
    sizes = (len(material.train), len(material.general or ()))
    tokens = train.micro_batch_tokens or UNPLANNED_TOKENS
    train = train.model_copy(update={"schedule": schedule, "micro_batch_tokens": tokens})
    fit = Fit(
        run_folder=run,
        model=model,
        objective=objective(model, train, way, view=material.view, progress=progress),
        way=way,
        attention=disturbed(way.attention, train.regularise, material.train),
        rendered=material.train if material.general is None else replay.Mixed(material.train, material.general),
        validation=_validation_sample(material.validation),
        order=order(train, sizes, chosen["train.epochs"], settings.seed),
        settings=train,
        peak_rate=chosen["train.learning_rate"],
        seed=settings.seed,
        arithmetic=Arithmetic(device=next(model.parameters()).device, bfloat16=chosen["model.precision"] == "bfloat16"),
    )
    if train.regularise.neftune_alpha is not None or not material.view.plain:
        return fit  # noise: what enters a layer is never the same twice; other objectives read other rows, or states
    return with_states(fit, settings.model.frozen_cache_gb, progress, folder=states or run / frozen.FOLDER)


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
    facts: dict[str, Any] = {"base": base.name, "base_digest": base.digest, "step": place.best_step or place.step}
    if settings.model.quantise != "none":
        facts["quantise"] = settings.model.quantise
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
