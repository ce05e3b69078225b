"""Evaluate: a snapshot's held-out rows, a base and a run in; the run's evaluation out. The base always runs too."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metier.core import artefact, digest
from metier.core.__about__ import __version__
from metier.core.errors import DataError
from metier.core.progress import Progress
from metier.core.types import Row
from metier.engine.request import Sampling
from metier.engine.several import Drawing, several
from metier.evaluate import headed, leaks, openings, retain, stored
from metier.evaluate.answer import Answered
from metier.evaluate.both import Both
from metier.evaluate.conditions import batch_plan
from metier.evaluate.graded import graded, told, unreliable
from metier.evaluate.graders.grade import Grading, Where, wanted_tries
from metier.evaluate.job import Job, open_job, seed_of
from metier.evaluate.metrics import Side, columns, scored
from metier.evaluate.probes import run as probe_run
from metier.evaluate.production import measure as serve
from metier.evaluate.questions import choose
from metier.evaluate.said import side_of
from metier.evaluate.settings import EvaluateSettings
from metier.evaluate.suites import harness, ledger
from metier.evaluate.suites import run as suite_run
from metier.evaluate.suites.choose import suites
from metier.evaluate.suites.items import Suite
from metier.evaluate.summary import summarise
from metier.evaluate.task import Task
from metier.evaluate.wording import sentence
from metier.evaluate.worst import worst
from metier.model.find import Base
from metier.model.load import device_here, load_base, load_tuned
from metier.score.graders.own import Code
from metier.text import targets
from metier.text.preferences import answered
from metier.text.render import Renderer
from metier.text.rows import load_split
from metier.text.settings import TextSettings

_LEFT_OUT_NAMED = 20


def evaluate(
    snapshot: Path, base: Base, run: Path, *, text: TextSettings, settings: EvaluateSettings, progress: Progress
) -> Path:
    """Ask base and tuned model the same held-out rows in the same way, compare them in pairs, publish what came out.

    Args:
        snapshot: a prepared snapshot.
        base: as found by `model.find`.
        run: a finished training run in the project's `.metier/runs`.
        text: how rows become tokens, as in training.
        settings: which rows, how many tokens, what counts as a difference.
        progress: who listens.

    Returns:
        `run / "evaluation"`, holding evaluation.json, answers.jsonl and scored.jsonl.

    Raises:
        DataError: the split has no rows, none of them can be evaluated, or the run has no model.
        ModelError: the run's model renders prompts otherwise than the base, or cannot be loaded.
        SettingsError: the metric that was set is not measured on these rows.
        NonFiniteError: a model's logits are not numbers.
    """
    model = artefact.verify(run / "model", "model")
    if (head := targets.read(run / "model")) is not None:
        seed = seed_of(run) if base.kind == "config" else 0
        where = headed.Where(snapshot=snapshot, base=base, run=run, head=head, seed=seed)
        return headed.evaluate(where, text=text, settings=settings, progress=progress)
    job = open_job(snapshot, base, run, text, settings)
    chosen = suites(settings.suites, run.parent.parent.parent)
    for choice in job.choices:
        progress.chose(choice)
    store = run.parent.parent
    opened = None
    if settings.split == "test":
        opened = openings.note(store, snapshot=job.snapshot_digest, run=run.name)
    both = _both(base, run, progress)
    first, took = both.answers("base", job.asked, job.seen)
    if not took:
        progress.say("base: answers kept from an earlier evaluation (same rows, prompts, decoding and machine)")
    sure = _sure(job, both, "base")
    second, took_tuned = both.answers("tuned", job.asked_tuned, None)
    tokenizer = job.renderer.tokenizer
    sides = (
        side_of("base", first, tokenizer, sure), side_of("tuned", second, tokenizer, _sure(job, both, "tuned")),
    )  # fmt: skip
    where = Where(folder=store.parent, draw=lambda grader: _drawn(grader, job, both))
    sides, grading = graded(job.material.questions, sides, settings, where=where, progress=progress)
    facts = _conclude(job, sides, (first, second), settings, grading) | {
        **_beside(snapshot, job, chosen, both, settings),
        "conditions": _conditions(job, base, run, model.digest, settings),
        "choices": [dataclasses.asdict(choice) for choice in job.choices],
        "test_openings": opened,
        "seconds": {"base": took or None, "tuned": took_tuned},
    }
    progress.say(sentence(facts["verdict"], confidence=settings.confidence).text)
    return _publish(run, job, sides, facts)


def _sure(job: Job, both: Both, name: str) -> Mapping[str, np.ndarray]:
    """Return how sure a model is of every label, where that is asked."""
    return {} if job.offer is None else job.offer.numbers(name, both)


def _drawn(grader: Code, job: Job, both: Both) -> tuple[list[list[str]], list[list[str]]]:
    """Draw several answers of both models to every question that is asked in words."""
    decoding, tokenizer = job.asked.decoding, job.renderer.tokenizer
    how = Drawing(
        sampling=Sampling(temperature=grader.temperature), most_tokens=decoding.max_new_tokens,
        stop_ids=decoding.stop_ids,
    )  # fmt: skip
    found = []
    for name, asked in (("base", job.asked), ("tuned", job.asked_tuned)):
        places = [place for place, prompt in enumerate(asked.prompts) if prompt is not None]
        prompts = [asked.prompts[place] or [] for place in places]
        said = several(both.model(name), prompts, tries=wanted_tries(grader), how=how, progress=both.progress)
        texts: list[list[str]] = [[] for _ in asked.prompts]
        for place, answers in zip(places, said, strict=True):
            texts[place] = [tokenizer.said(answer.ids) for answer in answers]
        found.append(texts)
    return found[0], found[1]


def _both(base: Base, run: Path, progress: Progress) -> Both:
    """Return the two models, not loaded yet."""
    device = device_here()
    seed = seed_of(run) if base.kind == "config" else 0
    return Both(
        open_base=lambda: load_base(base, device=device, seed=seed),
        open_tuned=lambda: load_tuned(base, run / "model", device=device),
        base_key=[base.digest, seed, str(device)],
        store=run.parent.parent,
        progress=progress,
    )


def _beside(
    snapshot: Path, job: Job, chosen: Sequence[Suite], both: Both, settings: EvaluateSettings
) -> dict[str, Any]:
    """Return what is measured beside the task: suites, probes, and held-out rows that were trained on."""
    folder = both.store.parent
    measured = suite_run.run(chosen, _plain(job.renderer), both)
    measured += harness.run(settings.suites, job.renderer, both, folder)
    train, held_out = ([answered(row) for row in load_split(snapshot, name)] for name in ("train", settings.split))
    production = None
    if settings.production.requests:
        production = serve.measure(_service(job, held_out, settings, folder), both, settings.production)
    prober = probe_run.Prober(both, job.renderer, job.asked.decoding.max_new_tokens)
    return {
        "suites": ledger.ledger(measured, settings),
        "production": production,
        "probes": probe_run.run(prober, choose(held_out, settings.max_rows), train, settings, folder),
        "leaked": leaks.found(choose(held_out, settings.max_rows), train),
    }


def _service(job: Job, rows: Sequence[Row], settings: EvaluateSettings, folder: Path) -> serve.Service:
    """Return the first prompts of both models, the base's with the prompt that would take the place of tuning."""
    asked = [place for place, ids in enumerate(job.asked_tuned.prompts) if ids is not None]
    asked = asked[: settings.production.requests]
    prompts = {
        name: [part.prompts[place] or [] for place in asked]
        for name, part in (("base", job.asked), ("tuned", job.asked_tuned))
    }
    if not asked:
        raise DataError("evaluate.production: rows of plain text", "rows that are answered", "leave it out")
    if settings.production.prompt is not None:
        by_id = {row.id: row for row in rows}
        chosen = [by_id[job.material.questions[place].row_id] for place in asked]
        prompts["base"] = serve.with_prompt(chosen, job.renderer, folder / settings.production.prompt)
    return serve.Service(prompts=prompts, decoding=job.asked.decoding, confidence=settings.confidence)


def _plain(renderer: Renderer) -> Renderer:
    """Return a renderer without the task's system turn: suites ask about everything else."""
    return dataclasses.replace(renderer, settings=renderer.settings.model_copy(update={"system": None}))


def _conclude(
    job: Job,
    sides: tuple[Side, Side],
    answered: tuple[Answered, Answered],
    settings: EvaluateSettings,
    grading: Grading,
) -> dict[str, Any]:
    questions = job.material.questions
    facts = summarise(questions, *sides, settings, unreliable=unreliable(grading))
    task: Task = facts["task"]["value"]
    kept = None
    if job.general_rows:
        kept = retain.ledger(job.general_rows, answered[0].general, answered[1].general, settings)
    return facts | {
        "grading": told(grading),
        "retention": kept,
        "spared": None if job.spared is None else job.spared.as_dict(),
        "worst": worst(questions, *sides, task=task, most=settings.worst),
        "left_out": len(job.material.left_out),
        "left_out_rows": [dataclasses.asdict(row) for row in job.material.left_out[:_LEFT_OUT_NAMED]],
    }


def _conditions(job: Job, base: Base, run: Path, model_digest: str, settings: EvaluateSettings) -> dict[str, Any]:
    """Return what must be alike for two evaluations to be comparable, and what was compared."""
    decoding = job.asked.decoding
    return {
        "split": settings.split,
        "rows": len(job.material.questions),
        "rows_digest": digest.of_value([question.row_id for question in job.material.questions]),
        "snapshot": job.snapshot_digest,
        "base": {"name": base.name, "digest": base.digest},
        "tuned": {"name": run.name, "digest": model_digest},
        "renderer": job.renderer.digest,
        "tokenizer": job.renderer.tokenizer.digest,
        "decoding": {
            "kind": "greedy",
            "max_new_tokens": decoding.max_new_tokens,
            "stop_ids": sorted(decoding.stop_ids),
        },
        "batches": batch_plan(job.asked.prompts, decoding.max_new_tokens),
        "precision": "float32",
        "device": device_here().type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "metier": __version__,
        "settings": settings.model_dump(mode="json"),
    }


def _publish(run: Path, job: Job, sides: tuple[Side, Side], facts: dict[str, Any]) -> Path:
    questions = job.material.questions
    answers = [entry for side in sides for entry in stored.answers_of(questions, side)]
    numbers = [
        entry for side in sides for entry in scored(questions, side, columns(questions, facts["task"]["value"], side))
    ]
    return stored.write(run, facts, answers, numbers, sides if sides[0].graded else ())
