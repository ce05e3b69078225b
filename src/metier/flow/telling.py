"""Everything known about a run, as one page."""

import json
from collections.abc import Mapping
from time import perf_counter

from metier.core import artefact, digest
from metier.core.__about__ import __version__
from metier.core.report import Verdict
from metier.evaluate.report import report as evaluation_report
from metier.flow.found import Run, Stage, require_trained, skip
from metier.prepare import snapshot as snapshots
from metier.project import Place, name_of
from metier.promote.report import report as parity_report
from metier.report import html, markdown
from metier.report.page import Chapter, Page, as_plain
from metier.train.report import in_brief
from metier.train.report import report as training_report


def report(place: Place, run: Run) -> Stage:
    """Write everything known about a run as one HTML file, as Markdown and as JSON.

    Returns:
        The stage; its path is the HTML file.

    Raises:
        InputError: the run is not trained yet.
    """
    require_trained(place, run)
    started = perf_counter()
    page = page_of_run(place, run)
    key = digest.of_value([__version__, as_plain(page)])
    target = run.path / "report"
    if artefact.exists(target, "report") and artefact.read(target).facts.get("key") == key:
        return skip(place, "report", target / "report.html", "nothing in it has changed")
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


def _verdict(verdicts: Mapping[str, Verdict]) -> Verdict:
    """Return the page's answer: a broken parity outweighs any score."""
    parity = verdicts.get("parity")
    if parity is not None and parity.good is False:
        return parity
    if "evaluation" in verdicts:
        return verdicts["evaluation"]
    return Verdict(text="Not evaluated yet: `metier evaluate` compares it with its base.", good=None, asked=False)
