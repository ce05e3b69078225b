"""What an evaluation asks both models, rendered and decided before either is loaded."""

from collections.abc import Sequence as Many
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.core import artefact
from metier.core.errors import DataError
from metier.core.types import Reasoned, Row
from metier.evaluate import retain, sureness
from metier.evaluate.answer import Asked, Decoding
from metier.evaluate.questions import Material, Question, choose, gather, require_same_prompts, together
from metier.evaluate.settings import EvaluateSettings
from metier.evaluate.sureness import Offer
from metier.evaluate.task import deciding_metric, recognise
from metier.model.find import Base
from metier.text import context, room
from metier.text.context import Saved
from metier.text.render import Renderer, open_renderer
from metier.text.rows import load_split
from metier.text.settings import TextSettings


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """What an evaluation is about, once everything is rendered and decided.

    The tuned model is asked the same, but after a distillation without the long prompt; `spared` counts the tokens.
    """

    snapshot_digest: str
    renderer: Renderer
    material: Material
    general_rows: tuple[Row, ...]
    asked: Asked
    asked_tuned: Asked
    choices: tuple[Reasoned, ...]
    spared: Saved | None = None
    offer: Offer | None = None

    @property
    def seen(self) -> list[object]:
        """All that the base gets to see, for a digest."""
        return [self.material.digest, [[each.ids.tolist() for each in group] for group in self.asked.general]]


def open_job(snapshot: Path, base: Base, run: Path, text: TextSettings, settings: EvaluateSettings) -> Job:
    """Render everything and take every decision, before a model is loaded or the test split counted as opened."""
    renderer = open_renderer(base.folder, text)
    rows = choose(load_split(snapshot, settings.split), settings.max_rows)
    if not rows:
        raise DataError(
            f"{snapshot}: no {settings.split} rows", "at least one", f"name a {settings.split} file or raise its share"
        )
    drop = context.dropped(_plan(run))
    student = context.student_renderer(renderer, drop)
    seen = [context.student_row(row, drop) for row in rows]
    require_same_prompts(seen, student, context.student_renderer(open_renderer(run / "model", text), drop))
    material, shorter = together(gather([context.teacher_row(row, drop) for row in rows], renderer), seen, student)
    pieces = retain.general_sequences(renderer) if settings.retention else []
    task = recognise(material.questions, settings)
    offer, offering = None, ()
    if task.value == "label" or settings.suites.probes.calibration is not None:
        train = load_split(snapshot, "train")
        offer, *offering = sureness.choose((material, shorter), train, task.value, settings, renderer)
    deciding = deciding_metric(material.questions, task.value, settings, sure=offer is not None)
    limit = new_tokens(material.questions, renderer, settings)
    tokenizer = renderer.tokenizer
    decoding = Decoding(stop_ids=tokenizer.stop_ids, max_new_tokens=limit.value, pad_id=tokenizer.pad_id)
    general = [sequences for _, sequences in pieces]

    def asked(part: Material) -> Asked:
        return Asked(prompts=part.prompts, rows=part.measured, general=general, decoding=decoding)

    return Job(
        snapshot_digest=artefact.read(snapshot, "snapshot").digest,
        renderer=renderer,
        material=material,
        general_rows=tuple(row for row, _ in pieces),
        asked=asked(material),
        asked_tuned=asked(shorter),
        choices=(task, deciding, limit, *offering),
        spared=None if drop is None else _spared(material, shorter),
        offer=offer,
    )


def _spared(whole: Material, shorter: Material) -> Saved:
    """Count the tokens of the prompts that base and tuned model are asked."""
    counts = [sum(len(prompt) for prompt in part.prompts if prompt is not None) for part in (whole, shorter)]
    return Saved(requests=len(whole.questions), with_prompt=counts[0], without=counts[1])


def new_tokens(questions: Many[Question], renderer: Renderer, settings: EvaluateSettings) -> Reasoned:
    """Choose how long an answer may be."""
    name = "evaluate.max_new_tokens"
    if settings.max_new_tokens is not None:
        return Reasoned(name=name, value=settings.max_new_tokens, reason="as set")
    if any(question.item is not None for question in questions):
        return Reasoned(name=name, value=room.MOST, reason="the rows are tasks: a grader sees whole answers")
    longest = room.longest((question.answer for question in questions), renderer.tokenizer)
    return Reasoned(name=name, value=room.room(longest), reason=f"the longest right answer has {longest} tokens")


def seed_of(run: Path) -> int:
    """Return the seed of a base that began with random weights."""
    return _plan(run)["seed"]


def _plan(run: Path) -> dict[str, Any]:
    """Return what the run was trained with."""
    return artefact.read_json(run / "settings.json")["plan"]
