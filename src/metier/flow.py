"""The life of a fine-tune as ordinary functions, in the order of life: the only place where two verb rooms meet.

Each stage takes a project and leaves files; one that is done and unchanged is not done again, and says why. Rooms that
need torch are imported where they are called, so that a command which does not train starts at once.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from metier.core import artefact, digest, extras, ledger
from metier.core.__about__ import __version__
from metier.core.errors import InputError, ParityError
from metier.core.progress import OnlyBars
from metier.core.report import Report, Verdict
from metier.core.settings import Settings
from metier.evaluate.report import report as evaluation_report
from metier.model.find import Base, find
from metier.prepare import page as data_page
from metier.prepare import snapshot as snapshots
from metier.project import FILE, Place, find_run, name_of, read_file, text_settings, train_settings
from metier.promote.report import report as parity_report
from metier.report import html, markdown
from metier.report.page import Chapter, Page, as_plain
from metier.resolved import base_of, replay_by_content, template_by_content
from metier.text.proof import Proof, check
from metier.text.render import open_renderer
from metier.text.rows import load_split
from metier.train import views
from metier.train.plan import TrainingPlan
from metier.train.report import in_brief
from metier.train.report import report as training_report
from metier.train.sweep.settings import SWEPT, sweep_name
from metier.train.verify.verdicts import Verified

_TRAIN = "train"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a stage left: `path`, and `skipped`, the reason why it had nothing to do ("" when it worked)."""

    name: str
    path: Path
    skipped: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run found: its folder (which may not exist yet) and what it is a function of."""

    path: Path
    snapshot: Path
    base: Base
    plan: TrainingPlan

    @property
    def id(self) -> str:
        """The run's name."""
        return self.path.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Rows as the model reads them, by source: pieces of text with whether each is learnt; and the preflight."""

    rows: tuple[tuple[str, tuple[tuple[str, bool], ...]], ...]
    proof: Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the whole way left. `broken` is the breach of parity, raised by whoever has shown the page."""

    run: Run
    stages: tuple[Stage, ...]
    page: Page
    broken: ParityError | None = None


def prepare(place: Place) -> Stage:
    """Read, check, split and keep the project's files as a snapshot.

    Raises:
        DataError: a file is missing, empty, broken or of mixed formats; nothing was written.
    """
    started = perf_counter()
    place.open_store()
    project = place.project
    result = snapshots.prepare(
        project.data,
        project.prepare,
        folder=place.folder,
        store=place.store,
        seed=project.seed,
        progress=place.progress,
    )
    counts = ", ".join(f"{count:,} {split}" for split, count in result.counts.items())
    skipped = "the same files and settings were prepared before" if result.reused else ""
    place.progress.say(f"prepare: {_unchanged(skipped)}{counts}")
    return Stage(name="prepare", path=result.path, skipped=skipped, seconds=perf_counter() - started)


def page_of_data(place: Place, snapshot: Path) -> Page:
    """Tell what is in a snapshot and what it becomes under the project's base, where that is at hand."""
    try:
        run = locate(place, snapshot)
        renderer = open_renderer(run.base.folder, run.plan.text)
        return data_page.page(snapshot, run.base.name, renderer, place.progress)
    except InputError as error:
        place.progress.say(f"tokens are not counted: {error}")
        return data_page.page(snapshot, "", None, place.progress)


def write_data_page(place: Place, snapshot: Path, page: Page) -> Path:
    """Write the page of a snapshot as one HTML file; return where."""
    path = place.store / "reports" / f"data-{snapshot.name}.html"
    artefact.write_file(path, html.render(page))
    return path


def locate(place: Place, snapshot: Path) -> Run:
    """Find the run that the project's settings, data and base name; its folder may not exist yet.

    Raises:
        ModelError: the base cannot be found or used.
        SettingsError: the chat template's file is missing.
    """
    project = place.project
    base = base_of(place)
    text = text_settings(place)
    plan = TrainingPlan(text=text, model=project.model, train=train_settings(place), seed=project.seed)
    named = plan if text.template == "auto" else replace(plan, text=template_by_content(text))
    named = replace(named, train=replay_by_content(plan.train))
    identity = named.run_digest(artefact.read(snapshot, "snapshot").digest, base.digest)
    path = place.runs / f"{name_of(project, place.folder)}-{identity[:8]}"
    return Run(path=path, snapshot=snapshot, base=base, plan=plan)


def show(place: Place, run: Run, count: int) -> Shown:
    """Render the first `count` training rows as the model reads them, and run the preflight over all rows.

    Raises:
        DataError: rows of a kind that cannot be learnt.
    """
    renderer = open_renderer(run.base.folder, run.plan.text)
    for choice in renderer.choices:
        place.progress.chose(choice)
    rows = load_split(run.snapshot, "train")
    seen = views.view(run.plan.train.objective, rows, renderer)
    painted = tuple((row.source, tuple(views.painted(seen, row))) for row in rows[:count])
    return Shown(rows=painted, proof=check(rows, renderer, progress=place.progress))


def plan(place: Place, run: Run) -> Report:
    """Say what a training would need and how long it would take; loads no weights.

    Raises:
        SettingsError: the base is of an architecture that does not let itself be planned.
    """
    extras.require(_TRAIN)
    from metier.train.planning.report import report as told
    from metier.train.planning.run import make

    renderer = open_renderer(run.base.folder, run.plan.text)
    rows = load_split(run.snapshot, "train")
    seen = views.view(run.plan.train.objective, rows, renderer)
    name = f"{artefact.read(run.snapshot, 'snapshot').digest}/train"
    rendered = views.render(seen, rows, store=run.path.parent.parent, digest=name, progress=place.progress, prove=False)
    return told(make(run.base, run.plan, rendered, seen), run.base.name)


def verify(place: Place, run: Run) -> Verified:
    """Prove on a few of the project's own rows that the engine computes what the plain step computes.

    Raises:
        InputError: the float64 model that the proof needs does not fit into memory.
    """
    extras.require(_TRAIN)
    from metier.train.verify.run import verify as look

    place.progress.say(f"verify: the engine on {run.base.name} and this project's rows")
    settings = place.project.verify
    return look(run.snapshot, run.base, run=run.path, plan=run.plan, settings=settings, progress=place.progress)


def advise(place: Place) -> Stage:
    """Measure on validation rows what the task scores without training, and after quick trainings; advise.

    Raises:
        DataError: there are no validation rows, or none with a question and an answer.
    """
    settings, started = place.project.advise, perf_counter()
    prepared = prepare(place)
    extras.require(_TRAIN)
    from metier.advise.run import Where
    from metier.advise.run import advise as measure
    from metier.train.quick import quickly
    from metier.train.run import train as fit

    found = locate(place, prepared.path)
    quick = quickly(found.plan, settings.steps)

    def teach(snapshot: Path, base: Base, run: Path) -> Path:
        return fit(snapshot, base, run=run, settings=quick, progress=OnlyBars(place.progress)) / "model"

    where = Where(
        snapshot=prepared.path, bases=(found.base, *(find(name, place.folder) for name in settings.bases)),
        folder=place.folder, store=place.store, text=found.plan.text, values=read_file(place.folder / FILE),
        taught=digest.of_value(quick.as_dict()), seed=place.project.seed,
    )  # fmt: skip
    path = measure(where, settings, teach, place.progress)
    return Stage(name="advise", path=path, seconds=perf_counter() - started)


def train(place: Place, run: Run) -> Stage:
    """Train, or go on where an interrupted training stopped.

    Raises:
        ProofError: the rendered rows would train something other than what was meant; nothing was trained.
        InterruptedRun: stopped on request after publishing a checkpoint; the same command goes on.
    """
    if is_trained(run.path):
        return _skip(place, "train", run.path, f"the same settings, data and base were trained before as {run.id}")
    extras.require(_TRAIN)
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
        return _skip(place, "sweep", folder / SWEPT, "these settings were searched before")
    extras.require(_TRAIN)
    from metier.train.sweep.search import sweep as search

    search(snapshot, run.base, folder=folder, plan=run.plan, settings=settings, progress=place.progress)
    return Stage(name="sweep", path=folder / SWEPT, seconds=perf_counter() - started)


def evaluate(place: Place, run: Run) -> Stage:
    """Compare base and tuned model on the same held-out rows.

    Raises:
        InputError: the run is not trained yet.
    """
    _require_trained(place, run)
    settings = place.project.evaluate
    key = _key(run, evaluate=settings, text=run.plan.text)
    target = run.path / "evaluation"
    if ledger.is_done(run.path, "evaluate", key, target):
        return _skip(place, "evaluate", target, "this model was evaluated with these settings before")
    extras.require(_TRAIN)
    from metier.evaluate.run import evaluate as measure

    started = perf_counter()
    place.progress.say(f"evaluate: {run.base.name} against {run.id}, on the {settings.split} split")
    path = measure(run.snapshot, run.base, run.path, text=run.plan.text, settings=settings, progress=place.progress)
    ledger.remember(run.path, "evaluate", key, path)
    return Stage(name="evaluate", path=path, seconds=perf_counter() - started)


def prove(place: Place, run: Run) -> Stage:
    """Prove that what was saved, reloaded and merged is what was trained.

    Raises:
        ParityError: a hop changed the model; names it.
        InputError: the run is not trained yet.
    """
    _require_trained(place, run)
    key = _key(run, promote=place.project.promote)
    target = run.path / "parity"
    if ledger.is_done(run.path, "prove", key, target) and ledger.is_intact(run.path / "model"):
        return _skip(place, "prove", target, "this model was proven with these limits before")
    extras.require(_TRAIN)
    from metier.promote.parity import prove as certify

    started = perf_counter()
    place.progress.say("prove: trained = saved = reloaded = merged?")
    path = certify(run.path, run.base, settings=place.project.promote, progress=place.progress)
    ledger.remember(run.path, "prove", key, path)
    return Stage(name="prove", path=path, seconds=perf_counter() - started)


def report(place: Place, run: Run) -> Stage:
    """Write everything known about a run as one HTML file, as Markdown and as JSON.

    Returns:
        The stage; its path is the HTML file.

    Raises:
        InputError: the run is not trained yet.
    """
    _require_trained(place, run)
    started = perf_counter()
    page = page_of_run(place, run)
    key = digest.of_value([__version__, as_plain(page)])
    target = run.path / "report"
    if artefact.exists(target, "report") and artefact.read(target).facts.get("key") == key:
        return _skip(place, "report", target / "report.html", "nothing in it has changed")
    with artefact.publish(target, kind="report", facts={"key": key}) as folder:
        (folder / "report.html").write_text(html.render(page), encoding="utf-8")
        (folder / "report.md").write_text(markdown.render(page), encoding="utf-8")
        (folder / "report.json").write_text(json.dumps(as_plain(page), indent=1) + "\n", encoding="utf-8")
    return Stage(name="report", path=target / "report.html", seconds=perf_counter() - started)


def page_of_run(place: Place, run: Run) -> Page:
    """Gather what the stages of a run left: the answer, then evaluation, parity, training and data."""
    chapters = [
        Chapter(name=name, question=question, report=make())
        for name, question, there, make in (
            ("evaluation", "Is it better than the base?", run.path / "evaluation", lambda: evaluation_report(run.path)),
            ("parity", "Is what was saved what was trained?", run.path / "parity", lambda: parity_report(run.path)),
            ("training", "How did the training go?", run.path / "summary.json", lambda: training_report(run.path)),
            ("data", "What was it taught with?", run.snapshot, lambda: snapshots.report(run.snapshot)),
        )
        if there.exists()
    ]
    facts = [("base", run.base.name), ("run", run.id), *in_brief(run.path)]
    return Page(
        title=name_of(place.project, place.folder),
        verdict=_verdict({chapter.name: chapter.report.verdict for chapter in chapters}),
        chapters=tuple(chapters),
        facts=tuple(facts),
        command="metier run",
    )


def run(place: Place) -> Outcome:
    """Take the whole way: prepare, train, evaluate, prove, report. Done and unchanged stages are skipped.

    A broken parity does not keep the report from being written; it is in the outcome.
    """
    prepared = prepare(place)
    found = locate(place, prepared.path)
    stages = [prepared, train(place, found), evaluate(place, found)]
    broken: ParityError | None = None
    try:
        stages.append(prove(place, found))
    except ParityError as error:
        broken = error
    stages.append(report(place, found))
    return Outcome(run=found, stages=tuple(stages), page=page_of_run(place, found), broken=broken)


def compare(place: Place, first: str, second: str) -> Report:
    """Compare two of: `base`, a run. The same thing twice is identical."""
    from metier.evaluate.compare import compare as judge

    return judge(*(None if name == "base" else find_run(place, name) for name in (first, second)))


def is_trained(run: Path) -> bool:
    """Tell whether a run was trained to its end."""
    return (run / "summary.json").is_file() and artefact.exists(run / "model", "model")


def _require_trained(place: Place, run: Run) -> None:
    if is_trained(run.path):
        return
    others = [path.name for path in sorted(place.runs.glob("*")) if is_trained(path)] if place.runs.is_dir() else []
    changed = f" (trained with other settings, data or base: {', '.join(others)})" if others else ""
    raise InputError(f"{run.id}: not trained yet{changed}", "a trained run", "`metier train`, or `metier run` for all")


def _skip(place: Place, name: str, path: Path, reason: str) -> Stage:
    place.progress.say(f"{name}: {_unchanged(reason)}".rstrip("; "))
    return Stage(name=name, path=path, skipped=reason)


def _unchanged(reason: str) -> str:
    return f"skipped, {reason}; " if reason else ""


def _key(run: Run, **sections: Settings) -> str:
    """Name what a stage's result is a function of, beside the code."""
    settings = {name: section.model_dump(mode="json") for name, section in sections.items()}
    model = artefact.read(run.path / "model", "model").digest
    return digest.of_value([settings, artefact.read(run.snapshot, "snapshot").digest, run.base.digest, model])


def _verdict(verdicts: Mapping[str, Verdict]) -> Verdict:
    """Return the page's answer: a broken parity outweighs any score."""
    parity = verdicts.get("parity")
    if parity is not None and parity.good is False:
        return parity
    if "evaluation" in verdicts:
        return verdicts["evaluation"]
    return Verdict(text="Not evaluated yet: `metier evaluate` compares it with its base.", good=None)
