"""Advise: a snapshot and bases in; what each way scores on validation rows, and what to do, out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from metier.advise import measure, task
from metier.advise.ask import Clock, started
from metier.advise.curve import Curve, fit
from metier.advise.decide import READABLE, Rules, choose
from metier.advise.measure import Found, Task, Teach
from metier.advise.ready import ready
from metier.advise.report import KIND, facts_of
from metier.advise.report import report as told
from metier.advise.settings import AdviseSettings
from metier.advise.ways import NotMeasured, Tried, Way, judged
from metier.core import artefact, digest
from metier.core.errors import DataError, InputError
from metier.core.progress import Progress
from metier.model.find import Base
from metier.report import html, markdown
from metier.report.page import as_plain, page_of
from metier.score import kinds
from metier.text.render import Renderer, open_renderer
from metier.text.rows import load_split
from metier.text.settings import TextSettings

SCHEMA = "metier.advice/1"

_MOST_TRAINING_ROWS = 20_000
_MOST_NEW_TOKENS = 256


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
    job, right = _job(where, settings, renderer)
    measured = _measured(where, job, right, teach, clock, progress)
    now = f"{where.bases[0].name}: {measure.ZERO_SHOT}"
    rules = Rules(margin=settings.margin, confidence=settings.confidence)
    groups = [question.group for question in job.asked]
    choice = choose(measured.ways, now=now, rules=rules, groups=groups, curve=measured.curve)
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        "conditions": _conditions(where, job, settings),
        **facts_of(choice, measured.ways, measured.missing, measured.curve, settings=settings, now=now),
    }
    progress.say(facts["verdict"]["text"])
    return _publish(where, facts, ready(where.values, choice, where.text))


def _job(where: Where, settings: AdviseSettings, renderer: Renderer) -> tuple[Task, tuple[str, ...]]:
    """Return what is asked, and apart from it what is right."""
    train, held = (load_split(where.snapshot, split) for split in ("train", "validation"))
    for rows, split in ((train, "training"), (held, "validation")):
        if not rows:
            raise DataError(
                f"{where.snapshot}: no {split} rows", "at least one",
                "raise prepare.validation_share, or name a validation file",
            )  # fmt: skip
    known = task.taken_apart(task.chosen(train, _MOST_TRAINING_ROWS))
    asked = task.taken_apart(task.chosen(held, settings.rows))
    labelled = all(type(row).__name__ == "LabelledRow" for row in train)
    kind = kinds.recognise(known.answers, labelled=labelled).kind
    longest = max(len(renderer.tokenizer.encode(answer, special=False)) for answer in known.answers)
    room = settings.max_new_tokens or min(longest + longest // 4 + 8, _MOST_NEW_TOKENS)
    job = Task(
        asked=asked.questions, known=known, kind=kind, room=room, settings=settings, folder=where.folder,
        seed=where.seed,
    )  # fmt: skip
    return job, asked.answers


def _measured(
    where: Where, job: Task, right: tuple[str, ...], teach: Teach, clock: Clock, progress: Progress
) -> Measured:
    """Measure what needs no model, then base after base; the curve is that of the project's base."""
    found: list[Found] = measure.without_model(job, progress)
    sizes: list[int] = []
    for place, base in enumerate(where.bases):
        try:
            renderer = open_renderer(base.folder, where.text)
        except InputError as error:
            found.append(NotMeasured(name=base.name, why=str(error)))
            continue
        asker = measure.opened(base, renderer, job, clock, progress)
        if isinstance(asker, NotMeasured):
            found.append(asker)
            continue
        found += measure.prompted(asker, job)
        if place:
            why = "only the project's base is trained"
            found.append(NotMeasured(name=f"{base.name}: quick training", why=why))
            continue
        entries, sizes = measure.trained(
            base, job, teach, snapshot=where.snapshot, work=_work(where, job, base), asker=asker
        )  # fmt: skip
        found += entries
    ways = tuple(_way(job, entry, right) for entry in found if isinstance(entry, Tried))
    missing = [entry for entry in found if isinstance(entry, NotMeasured)]
    curve = _curve(ways, sizes, job.settings)
    if curve is None:
        why = "fewer than two quick trainings were long enough to answer in the form of the task; raise advise.steps"
        missing.append(NotMeasured(name="data still needed", why=why))
    return Measured(ways=ways, missing=tuple(missing), curve=curve)


def _way(job: Task, tried: Tried, right: Sequence[str]) -> Way:
    """Judge what a way answered: the one place where what is right is looked at."""
    return judged(
        tried, task.scores(job.kind, tried.outputs, right), task.in_form(job.kind, tried.outputs, job.known.answers),
        groups=[question.group for question in job.asked], confidence=job.settings.confidence,
    )  # fmt: skip


def _curve(ways: Sequence[Way], sizes: Sequence[int], settings: AdviseSettings) -> Curve | None:
    """Return the learning curve; None where fewer than two trainings say anything."""
    tuned = [(size, way) for size, way in zip(sizes, (way for way in ways if way.tried.family == "tuned"), strict=True)]
    read = [(size, way.scores) for size, way in tuned if way.in_form >= READABLE]
    if len({size for size, _ in read}) < 2:
        return None
    return fit(tuple(size for size, _ in read), np.stack([s for _, s in read]), confidence=settings.confidence)


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


def _publish(where: Where, facts: dict[str, Any], values: tuple[str, dict[str, Any]]) -> Path:
    target = where.store / "advice"
    comment, settings = values
    written = comment + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=110)
    page = page_of(told(facts))
    with artefact.publish(target, kind=KIND, facts={"schema": SCHEMA}) as folder:
        (folder / "advice.json").write_text(json.dumps(as_plain(facts), indent=1, ensure_ascii=False) + "\n", "utf-8")
        (folder / "metier.yaml").write_text(written, encoding="utf-8")
        (folder / "report.html").write_text(html.render(page), encoding="utf-8")
        (folder / "report.md").write_text(markdown.render(page), encoding="utf-8")
    return target
