"""Measure what quick trainings of a base answer, on parts of the training rows: the learning curve."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic

from metier.advise.job import Task
from metier.advise.measure import Asker, Found, Seat, passages_of
from metier.advise.portions import SHARES, portion
from metier.advise.prompts import Recipe
from metier.advise.ways import NotMeasured, Tried
from metier.core import artefact
from metier.core.errors import InputError
from metier.core.types import Reasoned
from metier.model.find import Base
from metier.model.load import load_tuned

Teach = Callable[[Path, Base, Path, int], Path]
"""Trains a base on a snapshot, in a run's folder, for so many steps; returns the folder of the model."""

_FEWEST, _TRIAL = 40, 20
_EPOCHS = 3
_ROWS_PER_STEP = 16
_SHARE_OF_TIME = 0.8
"""Of the time that is left, for training; the rest is for asking."""


def trained(seat: Seat, task: Task, teach: Teach, *, snapshot: Path, work: Path, part: float) -> list[Found]:
    """Train quickly on parts of the training rows, and ask each result; the last with passages too, where there are.

    Args:
        seat: the base.
        task: what is asked.
        teach: trains.
        snapshot: the rows.
        work: where the trainings stand, to be found again.
        part: of the time that is left, for this base.
    """
    if task.settings.steps == 0:
        return [NotMeasured(name=f"{seat.label}: quick training", why="advise.steps is 0")]
    steps = task.settings.steps or _chosen(seat, task, teach, snapshot=snapshot, work=work, part=part)
    found: list[Found] = []
    spent = 0.0
    for share in SHARES:
        name = f"quick training, {share:.0%} of the rows".replace("%", " %")
        full = f"{seat.label}: {name}"
        before = seat.clock.left
        if before <= spent:
            found.append(NotMeasured(name=full, why=seat.clock.over()))
            continue
        seat.progress.say(f"advise: {seat.label}: train on {name.removeprefix('quick training, ')}")
        try:
            rows, model = _taught(seat, task, teach, snapshot=snapshot, work=work, how=(share, steps))
        except InputError as error:
            found.append(NotMeasured(name=full, why=str(error)))
            continue
        tuned = Asker(model=load_tuned(seat.base, model), seat=seat)
        entry = _asked(tuned, task, name, 9, steps, [Recipe()] * len(task.asked))
        spent = before - seat.clock.left
        found.append(replace(entry, rows=rows) if isinstance(entry, Tried) else entry)
        pieces = passages_of(task) if share == SHARES[-1] else ""
        if not isinstance(pieces, str):
            recipes = [Recipe(passages=entry) for entry in pieces]
            found.append(_asked(tuned, task, "quick training, with passages", 10, steps, recipes))
    return found


def _taught(
    seat: Seat, task: Task, teach: Teach, *, snapshot: Path, work: Path, how: tuple[float, int]
) -> tuple[int, Path]:
    """Train on a share of the rows for so many steps; returns how many rows that were, and the model's folder."""
    share, steps = how
    name = f"portion-{round(100 * share)}"
    rows = portion(snapshot, work / name, share, without=[question.row_id for question in task.asked])
    return rows, teach(work / name, seat.base, work / "runs" / f"{name}-{steps}", steps)


def _chosen(seat: Seat, task: Task, teach: Teach, *, snapshot: Path, work: Path, part: float) -> int:
    """Return how many steps each training gets: what a short trial says that the time allows, at most some epochs.

    It is a step of a ladder and remembered, so that the same command on the same rows finds its trainings again.
    """
    kept = work / "steps.json"
    if kept.is_file():
        return int(artefact.read_json(kept)["steps"])
    start = monotonic()
    if not seat.clock.left:
        return _FEWEST
    seat.progress.say(f"advise: {seat.label}: how long a training takes")
    try:
        rows, _ = _taught(seat, task, teach, snapshot=snapshot, work=work, how=(SHARES[-1], _TRIAL))
    except InputError:
        return _FEWEST  # the first training says why
    trial, left = monotonic() - start, seat.clock.left * part
    steps = affordable(trial, left, rows)
    why = f"{len(SHARES)} trainings in the {left:.0f} s left for it; {_TRIAL} steps took {trial:.1f} s"
    seat.progress.chose(Reasoned(name="advise.steps", value=steps, reason=why))
    artefact.write_file(kept, json.dumps({"steps": steps}) + "\n")
    return steps


def affordable(trial: float, left: float, rows: int) -> int:
    """Return how many steps each training gets: 40, 60, 80, 120, 160 and so on.

    Args:
        trial: seconds that a trial took.
        left: seconds for all trainings, and for asking what came out.
        rows: training rows.
    """
    most = min(_TRIAL * left * _SHARE_OF_TIME / len(SHARES) / trial, _EPOCHS * rows / _ROWS_PER_STEP)
    steps = _FEWEST
    while 2 * steps <= most:
        steps *= 2
    return 3 * steps // 2 if 3 * steps <= 2 * most else steps


def _asked(tuned: Asker, task: Task, name: str, effort: int, steps: int, recipes: list[Recipe]) -> Found:
    entry = tuned.tried(task, name, effort, recipes, detail=f"{steps} steps")
    return replace(entry, family="tuned") if isinstance(entry, Tried) else entry
