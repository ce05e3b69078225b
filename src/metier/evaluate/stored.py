"""An evaluation on disk: evaluation.json (all that is concluded), answers.jsonl and scored.jsonl (row by row).

Every conclusion follows from the rows, so two evaluations can be compared later without asking a model again.
Imports no torch.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from metier.core import artefact
from metier.core.errors import DataError
from metier.core.types import Answer, Scored
from metier.evaluate.metrics import NUMBERS, Side
from metier.evaluate.questions import Question

KIND = "evaluation"
FOLDER = "evaluation"
VERSION = 1
_GRADED = "graded.json"
Which = Literal["base", "tuned"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """A stored evaluation: `facts` is evaluation.json; the questions and both models' answers to them."""

    run: Path
    facts: dict[str, Any]
    questions: tuple[Question, ...]
    sides: dict[Which, Side]


def write(
    run: Path, facts: dict[str, Any], answers: Sequence[Answer], scored: Sequence[Scored], sides: Sequence[Side] = ()
) -> Path:
    """Publish an evaluation beside the run's model; returns its folder. `sides` hold what graders said, if any did.

    Raises:
        DiskFullError: no room; an earlier evaluation is intact.
    """
    target = run / FOLDER
    summary = {"verdict": facts["verdict"]["verdict"], "split": facts["conditions"]["split"]}
    with artefact.publish(target, kind=KIND, facts=summary) as folder:
        text = json.dumps({"version": VERSION, **facts}, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / "evaluation.json").write_text(text + "\n", encoding="utf-8")
        for name, rows in (("answers.jsonl", answers), ("scored.jsonl", scored)):
            lines = (json.dumps(dataclasses.asdict(row), ensure_ascii=False) + "\n" for row in rows)
            (folder / name).write_text("".join(lines), encoding="utf-8")
        if graded := {side.name: {name: table.tolist() for name, table in side.graded.items()} for side in sides}:
            (folder / _GRADED).write_text(json.dumps(graded) + "\n", encoding="utf-8")
    return target


def read(run: Path) -> Evaluation:
    """Read a run's evaluation and check every file of it.

    Raises:
        DataError: the run was not evaluated, or a file was changed since.
    """
    folder = run / FOLDER
    if not artefact.exists(folder, KIND):
        raise DataError(f"run {run.name}: no evaluation", "an evaluated run", "metier evaluate")
    artefact.verify(folder, KIND)
    facts = artefact.read_json(folder / "evaluation.json")
    if facts["version"] != VERSION:
        raise DataError(
            f"{folder}: written in form {facts['version']}",
            f"form {VERSION}",
            "evaluate the run again with this metier",
        )
    answers = _lines(folder / "answers.jsonl")
    losses = {
        (entry["model"], entry["row_id"], entry["metric"]): entry["value"] for entry in _lines(folder / "scored.jsonl")
    }
    questions = tuple(_question(entry) for entry in answers if entry["model"] == "base")
    sides: dict[Which, Side] = {name: _side(name, answers, losses) for name in ("base", "tuned")}
    if (folder / _GRADED).is_file():
        kept = artefact.read_json(folder / _GRADED)
        for which, side in sides.items():
            graded = {name: np.array(table, np.float64) for name, table in kept[which].items()}
            sides[which] = dataclasses.replace(side, graded=graded)
    return Evaluation(run=run, facts=facts, questions=questions, sides=sides)


def answers_of(questions: Sequence[Question], side: Side) -> list[Answer]:
    """Return one model's answers as they are kept."""
    return [
        Answer(
            row_id=question.row_id,
            source=question.source,
            model=side.name,
            prompt=question.prompt,
            reference=question.reference or "",
            output=output or "",
            slice=question.slice,
            extra={
                "asked": question.reference is not None,
                "ended": ended,
                "group": question.group,
                "labelled": question.labelled,
                "headed": question.headed,
                "preference": question.preference,
                "item": question.item,
                "written": question.written,
            },
        )
        for question, output, ended in zip(questions, side.outputs, side.ended, strict=True)
    ]


def _question(entry: dict[str, Any]) -> Question:
    return Question(
        row_id=entry["row_id"],
        source=entry["source"],
        prompt=entry["prompt"],
        reference=entry["reference"] if entry["extra"]["asked"] else None,
        group=entry["extra"]["group"],
        slice=entry["slice"],
        labelled=entry["extra"]["labelled"],
        headed=entry["extra"].get("headed"),
        preference=entry["extra"].get("preference", False),
        item=entry["extra"].get("item"),
        written=entry["extra"].get("written"),
    )


def _side(name: Which, answers: list[dict[str, Any]], losses: dict[tuple[str, str, str], float]) -> Side:
    own = [entry for entry in answers if entry["model"] == name]
    sums = np.array([[losses.get((name, e["row_id"], part), 0.0) for part in ("nats", "tokens")] for e in own])
    return Side(
        name=name,
        outputs=tuple(entry["output"] if entry["extra"]["asked"] else None for entry in own),
        ended=tuple(entry["extra"]["ended"] for entry in own),
        nats=sums[:, 0],
        tokens=sums[:, 1],
        numbers={
            number: np.array([losses[(name, entry["row_id"], number)] for entry in own])
            for number in NUMBERS
            if own and all((name, entry["row_id"], number) in losses for entry in own)
        },
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="\n") as lines:
        return [json.loads(line) for line in lines]
