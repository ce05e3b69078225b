"""Look at bases: candidates in; what each is, may, takes and scores, and which to take, out."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.advise.ask import started
from metier.advise.bases import licences, nature
from metier.advise.bases.candidates import Candidate, Shelf
from metier.advise.bases.features import features
from metier.advise.bases.judge import Cost, Looked, barred, pick
from metier.advise.bases.report import KIND, facts_of, report
from metier.advise.bases.zero_shot import Examination, Scored, score
from metier.advise.job import make as make_job
from metier.advise.settings import AdviseSettings
from metier.core import artefact
from metier.core.errors import MetierError
from metier.core.progress import Progress
from metier.model.find import Base
from metier.report import html, markdown
from metier.report.page import as_plain, page_of
from metier.text.render import open_renderer
from metier.text.settings import TextSettings

SCHEMA = "metier.bases/1"

Price = Callable[[Base], "tuple[Cost, ...] | str"]
"""What each method of training takes with a base here, or why that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The user's rows: a prepared snapshot, how rows become tokens, and the project that they belong to."""

    snapshot: Path
    text: TextSettings
    folder: Path
    store: Path
    seed: int


NO_ROWS = "there is no metier.yaml here: in a project, its rows are asked and planned with"


def look(shelf: Shelf, rows: Rows | None, settings: AdviseSettings, price: Price, progress: Progress) -> dict[str, Any]:
    """Find out everything about candidates, and choose one.

    Args:
        shelf: the candidates.
        rows: what they are asked; None: there is no project, and nothing is asked.
        settings: how many rows, for how long, for what the base is wanted.
        price: says what training takes with a base.
        progress: who listens.

    Returns:
        The facts; with rows they are published, too, see `publish`.
    """
    seen = []
    with progress.task("bases: read", len(shelf.candidates)) as bar:
        for candidate in shelf.candidates:
            seen.append(_look(candidate, price, settings))
            bar.advance()
    exam = None if rows is None else _examination(seen, rows, settings, progress)
    asked = [_asked(entry, exam, settings) for entry in seen]
    groups = [] if not isinstance(exam, Examination) else [question.group for question in exam.job.asked]
    choice = pick(
        asked, commercial=settings.choosing.commercial, margin=settings.margin, confidence=settings.confidence,
        groups=groups,
    )  # fmt: skip
    return {"schema": SCHEMA, **facts_of(asked, choice, _conditions(exam, settings) | {"more": shelf.more})}


def publish(facts: dict[str, Any], store: Path) -> Path:
    """Write what was found beside the project's other results; returns `.metier/bases`."""
    page = page_of(report(facts))
    target = store / "bases"
    with artefact.publish(target, kind=KIND, facts={"schema": SCHEMA}) as folder:
        (folder / "bases.json").write_text(json.dumps(as_plain(facts), indent=1, ensure_ascii=False) + "\n", "utf-8")
        (folder / "report.html").write_text(html.render(page), encoding="utf-8")
        (folder / "report.md").write_text(markdown.render(page), encoding="utf-8")
    return target


def _look(candidate: Candidate, price: Price, settings: AdviseSettings) -> Looked:
    """Read a candidate's files; plan with it unless they do not hold together."""
    folder, base = candidate.folder, candidate.base
    if folder is None:
        none = licences.Found(licence=None, said="", source="")
        return Looked(candidate=candidate, nature=None, licence=none, features=(), costs=candidate.why,
                      scored=candidate.why)  # fmt: skip
    known, licence = nature.read(folder), licences.of(folder)
    if base is None or known.faults:
        why = known.faults[0] if known.faults else candidate.why
        return Looked(candidate=candidate, nature=known, licence=licence, features=(), costs=why, scored=why)
    scored = "" if candidate.weights else candidate.why
    return Looked(
        candidate=candidate, nature=known, licence=licence, features=features(base), costs=price(base), scored=scored
    )


def _examination(seen: Sequence[Looked], rows: Rows, settings: AdviseSettings, progress: Progress) -> Examination | str:
    """Make the questions; their longest answer is counted in the tokens of the first base that has a tokenizer."""
    if not settings.choosing.asked:
        return "advise.choosing.asked is false"
    base = next((entry.candidate.base for entry in seen if entry.candidate.base is not None), None)
    if base is None:
        return "no base here can be read"
    try:
        renderer = open_renderer(base.folder, rows.text)
        job, right = make_job(rows.snapshot, renderer, settings, folder=rows.folder, seed=rows.seed)
    except MetierError as error:
        return str(error)
    return Examination(job=job, right=right, text=rows.text, clock=started(settings.seconds), progress=progress)


def _asked(entry: Looked, exam: Examination | str | None, settings: AdviseSettings) -> Looked:
    """Let a base answer unless something speaks against it."""
    if entry.scored != "":
        return entry
    why = barred(entry, commercial=settings.choosing.commercial)
    base = entry.candidate.base
    scored: Scored | str = why or (NO_ROWS if exam is None else exam if isinstance(exam, str) else "")
    if not scored and base is not None and isinstance(exam, Examination):
        scored = score(base, exam)
    return Looked(
        candidate=entry.candidate, nature=entry.nature, licence=entry.licence, features=entry.features,
        costs=entry.costs, scored=scored,
    )  # fmt: skip


def _conditions(exam: Examination | str | None, settings: AdviseSettings) -> dict[str, Any]:
    rows = exam.job if isinstance(exam, Examination) else None
    return {
        "rows": 0 if rows is None else len(rows.asked),
        "kind": None if rows is None else rows.kind,
        "commercial": settings.choosing.commercial,
        "settings": settings.model_dump(mode="json"),
    }
