"""Advise: a snapshot and bases in; what each way scores on validation rows, and what to do, out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from metier.advise import measure, task
from metier.advise.ask import Clock, started
from metier.advise.curve import Curve, fit
from metier.advise.decide import READABLE, Rules, choose
from metier.advise.job import Task
from metier.advise.job import make as make_job
from metier.advise.measure import Found, Seat
from metier.advise.ready import best_classifier, best_prompt, ready
from metier.advise.report import KIND, facts_of
from metier.advise.report import report as told
from metier.advise.settings import AdviseSettings
from metier.advise.trainings import Teach, trained
from metier.advise.ways import NotMeasured, Tried, Way
from metier.core import artefact, digest
from metier.core.errors import InputError
from metier.core.progress import Progress
from metier.model.find import Base
from metier.report import html, markdown
from metier.report.page import as_plain, page_of
from metier.text.render import open_renderer
from metier.text.settings import TextSettings

SCHEMA = "metier.advice/1"
_FOLDER = "advice"
PROMPT = "prompt.yaml"
"""The best prompt that is the same for all questions, for `metier compare prompt:FILE`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What is advised on: the rows, the bases (the project's first), and the project that it is about.

    `values` is metier.yaml as it stands; `taught` names the settings of the quick trainings.
    """

    snapshot: Path
    bases: tuple[Base, ...]
    folder: Path
    store: Path
    text: TextSettings
    values: Mapping[str, Any]
    taught: str
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """Every way measured, every way not measured, and the sizes and ways of the learning curve."""

    ways: tuple[Way, ...]
    missing: tuple[NotMeasured, ...]
    curve: Curve | None


def advise(where: Where, settings: AdviseSettings, teach: Teach, progress: Progress) -> Path:
    """Measure every way on validation rows, decide, and publish the advice.

    Args:
        where: rows, bases and project.
        settings: how many rows, for how long, what to try.
        teach: trains a base quickly.
        progress: who listens.

    Returns:
        `.metier/advice`, holding advice.json, metier.yaml and the report in three faces.

    Raises:
        DataError: there are no training or validation rows, or none of them has a question and an answer.
        InputError: a document cannot be read.
        ModelError: the project's base cannot be read.
    """
    clock = started(settings.seconds)
    renderer = open_renderer(where.bases[0].folder, where.text)
    job, right = make_job(where.snapshot, renderer, settings, folder=where.folder, seed=where.seed)
    measured = _measured(where, job, right, teach, clock, progress)
    now = f"{_labels(where)[0]}: {measure.ZERO_SHOT}"
    rules = Rules(margin=settings.margin, confidence=settings.confidence)
    choice = choose(measured.ways, now=now, rules=rules, groups=job.groups, curve=measured.curve)
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        "conditions": _conditions(where, job, settings),
        **facts_of(choice, measured.ways, measured.missing, measured.curve, settings=settings, now=now),
    }
    progress.say(facts["verdict"]["text"])
    written = {PROMPT: best_prompt(measured.ways, where.bases[0].name)}
    prompt = f"prompt:{where.store.name}/{_FOLDER}/{PROMPT}" if written[PROMPT] is not None else None
    opponents = [name for name in (prompt, best_classifier(measured.ways)) if name is not None]
    comment, values = ready(where.values, choice, where.text, opponents=opponents)
    return _publish(where, facts, written | {"metier.yaml": values}, comment)


def _measured(
    where: Where, job: Task, right: tuple[str, ...], teach: Teach, clock: Clock, progress: Progress
) -> Measured:
    """Measure what needs no model, then base after base: prompts of all, then trainings, the project's base first."""
    found: list[Found] = measure.without_model(job, progress)
    seats: list[Seat] = []
    asking = clock if job.settings.steps == 0 else clock.half()
    for base, label in zip(where.bases, _labels(where), strict=True):
        try:
            renderer = open_renderer(base.folder, where.text)
        except InputError as error:
            found.append(NotMeasured(name=label, why=str(error)))
            continue
        seat = Seat(base=base, label=label, renderer=renderer, clock=asking, progress=progress)
        asker = measure.opened(seat, job.seed)
        if isinstance(asker, NotMeasured):
            found.append(asker)
            continue
        found += measure.prompted(asker, job)
        seats.append(seat)
    for number, seat in enumerate(seats):
        work, part = _work(where, job, seat.base), 1 / (len(seats) - number)
        found += trained(replace(seat, clock=clock), job, teach, snapshot=where.snapshot, work=work, part=part)
    ways = tuple(job.judge(entry, right) for entry in found if isinstance(entry, Tried))
    missing = [entry for entry in found if isinstance(entry, NotMeasured)]
    curve = _curve(ways, [seat.base.name for seat in seats], job.settings)
    if curve is None:
        why = "fewer than two quick trainings were long enough to answer in the form of the task; raise advise.seconds"
        missing.append(NotMeasured(name="data still needed", why=why))
    return Measured(ways=ways, missing=tuple(missing), curve=curve)


def _labels(where: Where) -> list[str]:
    return measure.labels([base.name for base in where.bases])


def _curve(ways: Sequence[Way], bases: Sequence[str], settings: AdviseSettings) -> Curve | None:
    """Return the learning curve of the base that more rows may lift highest; None where no trainings say anything.

    A training is ruled out where that one is: the others promise less.
    """
    found = []
    for base in bases:
        points = [(way.tried.rows, way) for way in ways if way.tried.base == base and way.tried.rows is not None]
        read = [(size, way.scores) for size, way in points if way.in_form >= READABLE]
        if len({size for size, _ in read}) >= 2:
            sizes = tuple(size for size, _ in read)
            found.append(
                fit(sizes, np.stack([scores for _, scores in read]), confidence=settings.confidence, base=base)
            )
    return max(found, key=lambda curve: curve.at(2 * max(curve.sizes)).high, default=None)


def _work(where: Where, job: Task, base: Base) -> Path:
    """Name the folder of the quick trainings by all that they are a function of, so that they are found again."""
    ids = [question.row_id for question in job.asked]
    key = digest.of_value([artefact.read(where.snapshot, "snapshot").digest, base.digest, where.taught, ids])
    return where.store / "cache" / f"advice-{key[:16]}"


def _conditions(where: Where, job: Task, settings: AdviseSettings) -> dict[str, Any]:
    return {
        "split": "validation",
        "rows": len(job.asked),
        "training_rows": len(job.known.answers),
        "snapshot": artefact.read(where.snapshot, "snapshot").digest,
        "bases": [{"name": base.name, "digest": base.digest} for base in where.bases],
        "kind": job.kind,
        "score": task.MEASURED_BY[job.kind],
        "max_new_tokens": job.room,
        "settings": settings.model_dump(mode="json"),
    }


def _publish(where: Where, facts: dict[str, Any], written: Mapping[str, Any], comment: str) -> Path:
    target = where.store / _FOLDER
    page = page_of(told(facts))
    with artefact.publish(target, kind=KIND, facts={"schema": SCHEMA}) as folder:
        (folder / "advice.json").write_text(json.dumps(as_plain(facts), indent=1, ensure_ascii=False) + "\n", "utf-8")
        for name, values in written.items():
            if values is not None:
                text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110)
                (folder / name).write_text((comment if name == "metier.yaml" else "") + text, encoding="utf-8")
        (folder / "report.html").write_text(html.render(page), encoding="utf-8")
        (folder / "report.md").write_text(markdown.render(page), encoding="utf-8")
    return target
