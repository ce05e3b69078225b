"""From files to a snapshot, and what its rows look like to the model."""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from metier.core import artefact
from metier.core.errors import InputError
from metier.flow.found import Run, Stage, locate, unchanged
from metier.prepare import page as data_page
from metier.prepare import snapshot as snapshots
from metier.prepare.scale.run import counting
from metier.project import Place
from metier.report import html
from metier.report.page import Page
from metier.text.proof import Proof, check
from metier.text.render import open_renderer
from metier.text.rows import load_split
from metier.train import views


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Rows as the model reads them, by source: pieces of text with whether each is learnt; and the preflight."""

    rows: tuple[tuple[str, tuple[tuple[str, bool], ...]], ...]
    proof: Proof


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
    place.progress.say(f"prepare: {unchanged(skipped)}{counts}")
    return Stage(name="prepare", path=result.path, skipped=skipped, seconds=perf_counter() - started)


def page_of_data(place: Place, snapshot: Path) -> Page:
    """Tell what is in a snapshot and what it becomes under the project's base, where that is at hand."""
    try:
        run = locate(place, snapshot)
        renderer = open_renderer(run.base.folder, run.plan.text)
        workers = counting(place.project.prepare)
        both = run.plan.train.objective.name in ("auto", "prefer")
        return data_page.page(snapshot, run.base.name, renderer, place.progress, workers=workers, both=both)
    except InputError as error:
        place.progress.say(f"tokens are not counted: {error}")
        return data_page.page(snapshot, "", None, place.progress)


def write_data_page(place: Place, snapshot: Path, page: Page) -> Path:
    """Write the page of a snapshot as one HTML file; return where."""
    path = place.store / "reports" / f"data-{snapshot.name}.html"
    artefact.write_file(path, html.render(page))
    return path


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
    proof = Proof(findings=(), counts={}) if seen.rewards else check(rows, renderer, progress=place.progress)
    return Shown(rows=painted, proof=proof)
