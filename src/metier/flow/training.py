"""From a snapshot to a trained model: what it would need, the proof of the engine, the training, the search."""

from pathlib import Path
from time import perf_counter

from metier.core import artefact, extras
from metier.core.report import Report
from metier.flow.found import Run, Stage, is_trained, locate, skip
from metier.flow.serving import require_servable
from metier.project import Place
from metier.text.render import open_renderer
from metier.text.rows import load_split
from metier.train import views
from metier.train.sweep.settings import SWEPT, sweep_name
from metier.train.verify.verdicts import Verified


def plan(place: Place, run: Run) -> Report:
    """Say what a training would need and how long it would take; loads no weights.

    Raises:
        SettingsError: the base is of an architecture that does not let itself be planned, or `serve.target` would not
            load what is trained.
    """
    extras.require("train")
    require_servable(place, run)
    from metier.train.planning.report import report as told
    from metier.train.planning.run import make

    renderer = open_renderer(run.base.folder, run.plan.text)
    rows = load_split(run.snapshot, "train")
    manifest = artefact.read(run.snapshot, "snapshot")
    seen = views.view(run.plan.train.objective, rows, renderer, facts=manifest.facts)
    name = f"{manifest.digest}/train"
    rendered = views.render(seen, rows, store=run.path.parent.parent, digest=name, progress=place.progress, prove=False)
    return told(make(run.base, run.plan, rendered, seen), run.base.name)


def verify(place: Place, run: Run) -> Verified:
    """Prove on a few of the project's own rows that the engine computes what the plain step computes.

    Raises:
        InputError: the float64 model that the proof needs does not fit into memory.
    """
    extras.require("train")
    from metier.train.verify.run import verify as look

    place.progress.say(f"verify: the engine on {run.base.name} and this project's rows")
    settings = place.project.verify
    return look(run.snapshot, run.base, run=run.path, plan=run.plan, settings=settings, progress=place.progress)


def train(place: Place, run: Run) -> Stage:
    """Train, or go on where an interrupted training stopped.

    Raises:
        SettingsError: `serve.target` would not load what is trained.
        ProofError: the rendered rows would train something other than what was meant; nothing was trained.
        InterruptedRun: stopped on request after publishing a checkpoint; the same command goes on.
    """
    if is_trained(run.path):
        return skip(place, "train", run.path, f"the same settings, data and base were trained before as {run.id}")
    extras.require("train")
    require_servable(place, run)
    from metier.train.run import train as fit

    started = perf_counter()
    place.progress.say(f"train: {run.id}, from {run.base.name}")
    path = fit(run.snapshot, run.base, run=run.path, settings=run.plan, progress=place.progress)
    return Stage(name="train", path=path, seconds=perf_counter() - started)


def sweep(place: Place, snapshot: Path) -> Stage:
    """Search settings by the validation loss, or go on where a search stopped; raises as `train` does."""
    started, run, settings = perf_counter(), locate(place, snapshot), place.project.sweep
    folder = place.store / "sweeps" / sweep_name(run.id, settings)
    if artefact.exists(folder / SWEPT):
        return skip(place, "sweep", folder / SWEPT, "these settings were searched before")
    extras.require("train")
    from metier.train.sweep.search import sweep as search

    search(snapshot, run.base, folder=folder, plan=run.plan, settings=settings, progress=place.progress)
    return Stage(name="sweep", path=folder / SWEPT, seconds=perf_counter() - started)
