"""Evaluate a model with a head, against the frozen base with a head fitted on its states, on the same rows."""

import dataclasses
import time
from collections import Counter
from collections.abc import Sequence as Many
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import torch

from metier.core import artefact, digest
from metier.core.__about__ import __version__
from metier.core.errors import DataError, SettingsError
from metier.core.progress import Progress
from metier.core.types import Reasoned, Row, Sequence
from metier.evaluate import frozen, leaks, openings, stored
from metier.evaluate.metrics import Side, columns, scored
from metier.evaluate.questions import Question, choose, require_same_prompts
from metier.evaluate.settings import EvaluateSettings
from metier.evaluate.summary import summarise
from metier.evaluate.task import deciding_metric, recognise
from metier.evaluate.wording import sentence
from metier.forest.states import row_states
from metier.model.find import Base
from metier.model.load import device_here, load_base, load_tuned
from metier.score import calibration
from metier.score.metrics import metric_of
from metier.text.asking import prompt
from metier.text.pooled import of_rows
from metier.text.render import Renderer, open_renderer
from metier.text.rows import load_split
from metier.text.settings import TextSettings
from metier.text.targets import Targets, label_text

_TASKS: dict[str, Literal["label", "labels", "score"]] = {
    "classify": "label", "multilabel": "labels", "regress": "score",
}  # fmt: skip
_LEFT_OUT_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What is evaluated: the rows, the base, the run and its head. `seed` is that of a base of random weights."""

    snapshot: Path
    base: Base
    run: Path
    head: Targets
    seed: int

    @property
    def model_digest(self) -> str:
        """The digest of the run's model."""
        return artefact.read(self.run / "model", "model").digest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rows:
    """The questions with their sequences, and what was left out."""

    questions: tuple[Question, ...]
    sequences: list[Sequence]
    left_out: list[Any]


def evaluate(where: Where, *, text: TextSettings, settings: EvaluateSettings, progress: Progress) -> Path:
    """Let both answer the held-out rows, compare them in pairs, publish what came out; see `run.evaluate`."""
    if settings.graders:
        raise SettingsError("evaluate.graders: set for a model with a head", "none: a head writes nothing to grade")
    if settings.production.requests:
        raise SettingsError("evaluate.production: set for a model with a head", "0 requests: a head writes no tokens")
    renderer = open_renderer(where.base.folder, text)
    rows = choose(load_split(where.snapshot, settings.split), settings.max_rows)
    if not rows:
        raise DataError(f"{where.snapshot}: no {settings.split} rows", "at least one", f"name a {settings.split} file")
    require_same_prompts(rows, renderer, open_renderer(where.run / "model", text))
    asked = _ask(rows, renderer, where.head)
    task = recognise(asked.questions, settings)
    choices = [task, deciding_metric(asked.questions, task.value, settings)]
    opened = None
    if settings.split == "test":
        snapshot = artefact.read(where.snapshot, "snapshot").digest
        opened = openings.note(where.run.parent.parent, snapshot=snapshot, run=where.run.name)
    started = time.monotonic()
    fitted = _base(where, asked, renderer, progress)
    choices.append(Reasoned(name="evaluate.base", value="frozen, with a fitted head", reason=fitted.how))
    middle = time.monotonic()
    values = _tuned(where, asked, progress)
    seconds = {"base": middle - started, "tuned": time.monotonic() - middle}
    for choice in choices:
        progress.chose(choice)
    sides = (_side("base", fitted.values, asked, where.head), _side("tuned", values, asked, where.head))
    facts = summarise(asked.questions, *sides, settings)
    facts |= {
        "head": where.head.as_dict(),
        "constant": _constant(where, asked, facts["metric"]["value"], task.value),
        "grading": None,
        "suites": [],
        "production": None,
        "probes": None,
        "leaked": leaks.found(rows, load_split(where.snapshot, "train")),
        "retention": None,
        "worst": _worst(asked.questions, sides, settings.worst),
        "left_out": len(asked.left_out),
        "left_out_rows": [dataclasses.asdict(row) for row in asked.left_out[:_LEFT_OUT_NAMED]],
        "conditions": _conditions(where, asked, renderer, settings),
        "choices": [dataclasses.asdict(choice) for choice in choices],
        "test_openings": opened,
        "seconds": seconds,
    }
    progress.say(sentence(facts["verdict"], confidence=settings.confidence).text)
    answers = [entry for side in sides for entry in stored.answers_of(asked.questions, side)]
    numbers = [
        entry for side in sides for entry in scored(asked.questions, side, columns(asked.questions, task.value, side))
    ]
    return stored.write(where.run, facts, answers, numbers)


def _ask(rows: Many[Row], renderer: Renderer, head: Targets) -> _Rows:
    sequences, dropped = of_rows(rows, renderer, head)
    kept = [row for place, row in enumerate(rows) if place not in dropped]
    if not kept:
        first = next(iter(dropped.values()))
        raise DataError(
            f"none of {len(rows)} held-out rows can be asked ({first.source}: {first.reason})", "at least one"
        )
    questions = tuple(
        Question(
            row_id=row.id,
            source=row.source,
            prompt=prompt(row, renderer).text,
            reference=label_text(row) if head.kind == "regress" else head.answers(head.vector(row)[None])[0],
            group=row.group,
            slice=row.slice,
            headed=_TASKS[head.kind],
        )
        for row in kept
    )
    return _Rows(questions=questions, sequences=sequences, left_out=list(dropped.values()))


def _base(where: Where, asked: _Rows, renderer: Renderer, progress: Progress) -> frozen.Fitted:
    """Fit a head on the frozen base's states of the training rows, and let it answer."""
    head = where.head
    model = load_base(where.base, device=device_here(), seed=where.seed)
    parts = []
    with progress.task("base: read states and fit a head", 4) as bar:
        for split in ("train", "validation"):
            sequences, _ = of_rows(load_split(where.snapshot, split), renderer, head)
            parts.append(frozen.features(model, sequences, head.width))
            bar.advance(1)
        parts.append(
            frozen.Features(states=_read(model, asked.sequences, through_head=False), wanted=np.zeros((0, head.width)))
        )
        bar.advance(1)
        found = frozen.fit(head, *parts)
        bar.advance(1)
    return found


def _tuned(where: Where, asked: _Rows, progress: Progress) -> np.ndarray:
    model = load_tuned(where.base, where.run / "model", device=device_here())
    with progress.task("tuned: read the head", 1) as bar:
        said = where.head.values(_read(model, asked.sequences, through_head=True))
        bar.advance(1)
    return said


def _read(model: torch.nn.Module, sequences: Many[Sequence], *, through_head: bool) -> np.ndarray:
    found = dict(row_states(model, sequences, through_head=through_head))
    return np.stack([found[place][0].double().cpu().numpy() for place in range(len(sequences))])


def _side(name: str, values: np.ndarray, asked: _Rows, head: Targets) -> Side:
    numbers = {}
    if head.kind == "classify":
        places = {label: place for place, label in enumerate(head.labels)}
        right = np.array([places[question.reference or ""] for question in asked.questions])
        numbers = {"brier": calibration.brier(values, right), "confidence": values.max(axis=1)}
    return _of_text(name, head.answers(values), numbers)


def _of_text(name: str, outputs: Many[str], numbers: dict[str, np.ndarray]) -> Side:
    zeros = np.zeros(len(outputs))
    return Side(
        name=name, outputs=tuple(outputs), ended=(True,) * len(outputs), nats=zeros, tokens=zeros, numbers=numbers
    )


def _constant(where: Where, asked: _Rows, metric: str, task: Any) -> dict[str, Any] | None:
    """Return the deciding metric of the best answer that is the same for every row, as the training rows show it."""
    train = [label_text(row) for row in load_split(where.snapshot, "train")]
    answer = Counter(train).most_common(1)[0][0]
    if where.head.kind == "regress":
        answer = repr(median(float(text) for text in train))
    found = columns(asked.questions, task, _of_text("constant", [answer] * len(asked.questions), {}))
    if metric not in found:
        return None
    return {"answer": answer, "value": float(metric_of(metric).statistic(found[metric].sum(axis=0)))}


def _worst(questions: Many[Question], sides: tuple[Side, Side], most: int) -> list[dict[str, Any]]:
    """Return the rows that the tuned model does worst, those that the base does better first among equals."""
    tables = [_wrongness(questions, side) for side in sides]
    ranks = sorted((-tables[1][place], tables[0][place], place) for place in range(len(questions)))
    return [
        {
            "row": place,
            "row_id": questions[place].row_id,
            "note": f"{sides[0].name} said {sides[0].outputs[place]}, {sides[1].name} {sides[1].outputs[place]}",
        }
        for wrong, _, place in ranks[:most]
        if wrong < 0
    ]


def _wrongness(questions: Many[Question], side: Side) -> np.ndarray:
    task = questions[0].headed
    found = columns(questions, task or "label", side)
    if task == "score":
        return found["mae"][:, 0]
    if task == "labels":
        return found["micro_f1"][:, 1:].sum(axis=1)
    return side.numbers["brier"] if "brier" in side.numbers else 1 - found["accuracy"][:, 0]


def _conditions(where: Where, asked: _Rows, renderer: Renderer, settings: EvaluateSettings) -> dict[str, Any]:
    """Return what must be alike for two evaluations to be comparable, and what was compared."""
    return {
        "split": settings.split,
        "rows": len(asked.questions),
        "rows_digest": digest.of_value([question.row_id for question in asked.questions]),
        "snapshot": artefact.read(where.snapshot, "snapshot").digest,
        "base": {"name": where.base.name, "digest": where.base.digest},
        "tuned": {"name": where.run.name, "digest": where.model_digest},
        "renderer": renderer.digest,
        "tokenizer": renderer.tokenizer.digest,
        "decoding": {"kind": "head"},
        "precision": "float32",
        "device": device_here().type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "metier": __version__,
        "settings": settings.model_dump(mode="json"),
    }
