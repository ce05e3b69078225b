"""Every grader on every answer of both models; a row that cannot be graded counts for neither; imports no torch.

R = questions. A grader gives one or several metrics, each as columns float64 [R, k] like those of `metrics`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from metier.core.errors import SettingsError
from metier.core.progress import Progress
from metier.evaluate.graders import pairwise
from metier.evaluate.questions import Question
from metier.score import execute
from metier.score.graders import local
from metier.score.graders.openai import LabelModel, Multi, PythonGrader, ScoreModel
from metier.score.graders.own import Checker, Code, Pairwise
from metier.score.graders.places import Shown, shown
from metier.score.graders.settings import Grader, JudgeSettings, named
from metier.score.graders.values import Bench, values

Drawn = Callable[[Code], tuple[list[list[str]], list[list[str]]]]
"""Draws several answers of base and tuned model to each of the R questions; none to a question that is not asked."""

Tables = dict[str, tuple[np.ndarray, np.ndarray]]
"""Metric -> its columns for both models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grading:
    """What the graders say: columns by metric, the rows that could not be graded, and what is known of judges."""

    tables: Tables = field(default_factory=dict)
    faults: tuple[dict[str, Any], ...] = ()
    judges: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What graders reach for beside the answers: files below `folder`, and more answers."""

    folder: Path
    draw: Drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What all graders need: the questions that were asked, both models' answers, where files are, who listens."""

    questions: Sequence[Question]
    rows: tuple[list[Shown], list[Shown]]
    bench: Bench
    drawn: Drawn

    @property
    def outputs(self) -> tuple[list[str], list[str]]:
        """The answers of both models."""
        one, other = ([row.sample["output_text"] for row in side] for side in self.rows)
        return one, other


def grade(
    questions: Sequence[Question],
    outputs: tuple[Sequence[str | None], Sequence[str | None]],
    graders: Sequence[Grader],
    *,
    judge_settings: JudgeSettings,
    where: Where,
    progress: Progress,
) -> Grading:
    """Let every grader look at every answer.

    Args:
        questions: what was asked; those without a right answer are graded as well.
        outputs: both models' answers [R]; None where nothing was asked.
        graders: as set.
        judge_settings: where judges are.
        where: what the paths of graders are relative to, and who draws more answers.
        progress: told of judgements.

    Raises:
        SettingsError: two graders share a name, a file is missing, code may not run, or there is no judge.
    """
    asked = [place for place, pair in enumerate(zip(*outputs, strict=True)) if None not in pair]
    rows = tuple([_shown(questions[place], side[place] or "") for place in asked] for side in outputs)
    chosen = [questions[place] for place in asked]

    def drawn(grader: Code) -> tuple[list[list[str]], list[list[str]]]:
        one, other = ([side[place] for place in asked] for side in where.draw(grader))
        return one, other

    bench = Bench(folder=where.folder, judge=judge_settings, progress=progress)
    work = _Work(questions=chosen, rows=(rows[0], rows[1]), bench=bench, drawn=drawn)
    grading = Grading()
    faults: list[dict[str, Any]] = []
    for grader in graders:
        name = named(grader)
        found = _by_one(grader, name, work, grading.judges)
        for metric, (pair, wrong) in found.items():
            if metric in grading.tables:
                raise SettingsError(f"evaluate.graders: two are called '{name}'", "a `name` of its own for each")
            grading.tables[metric] = (_whole(pair[0], asked, questions), _whole(pair[1], asked, questions))
            faults += [
                {"grader": name, "source": chosen[place].source, "why": why} for place, why in sorted(wrong.items())
            ]
    return Grading(tables=grading.tables, faults=tuple(faults), judges=grading.judges)


def _shown(question: Question, output: str) -> Shown:
    beside = {"source": question.source, "slice": question.slice, "group": question.group} | (question.item or {})
    return shown(question.prompt, question.reference or "", output, beside=beside)


def alone(graders: Sequence[Grader]) -> list[Grader]:
    """Return the graders that need nothing but one model's answers: no judge, no other answers, no further draws."""
    asking = (Pairwise, ScoreModel, LabelModel, Multi)
    return [one for one in graders if not isinstance(one, asking) and not (isinstance(one, Code) and one.k > 1)]


def _whole(table: np.ndarray, asked: Sequence[int], questions: Sequence[Question]) -> np.ndarray:
    whole = np.zeros((len(questions), table.shape[1]))
    whole[list(asked)] = table
    return whole


_Found = dict[str, tuple[tuple[np.ndarray, np.ndarray], dict[int, str]]]


def _by_one(grader: Grader, name: str, work: _Work, judges: dict[str, dict[str, Any]]) -> _Found:
    """Return the metrics of one grader: the columns of both models, and the rows that it could not grade."""
    if isinstance(grader, Pairwise):
        winners, judges[name] = pairwise.compare(
            work.questions, work.outputs, grader,
            settings=work.bench.judge, progress=work.bench.progress, folder=work.bench.folder,
        )  # fmt: skip
        worth = {"base": (1.0, 0.0), "tie": (0.5, 0.5), "tuned": (0.0, 1.0)}
        sides = [[worth[winner][side] if winner in worth else winner for winner in winners] for side in (0, 1)]
        return _paired(f"graded/mean/{name}", sides)
    if isinstance(grader, Code) and grader.k > 1:
        return _drawn(grader, name, work)
    if isinstance(grader, (Checker, Multi, PythonGrader, ScoreModel, LabelModel)):
        return _paired(f"graded/mean/{name}", [values(grader, rows, work.bench) for rows in work.rows])
    metrics: list[dict[str, list[Sequence[float] | str]]] = [
        local.grade(grader, name, rows, folder=work.bench.folder) for rows in work.rows
    ]
    found: _Found = {}
    for metric in metrics[0]:
        found |= _paired(metric, [side[metric] for side in metrics])
    return found


def _drawn(grader: Code, name: str, work: _Work) -> _Found:
    """Return pass@k and pass@1 of drawn answers: for each row the unbiased estimate, averaged over rows."""
    tries = wanted_tries(grader)
    local.require_allowed(grader)
    shares: list[list[int]] = []
    for answers in work.drawn(grader):
        flat = [_shown(work.questions[row], text) for row, texts in enumerate(answers) for text in texts]
        passed = local.passes(grader, flat, work.bench.folder)
        shares.append([sum(passed[row * tries : (row + 1) * tries]) for row in range(len(answers))])
    found: _Found = {}
    for k in (grader.k, 1):
        sides = [[execute.pass_at(tries, right, k) for right in side] for side in shares]
        found |= _paired(f"graded/mean/{name} pass@{k}", sides)
    return found


def wanted_tries(grader: Code) -> int:
    """Return how many answers are drawn to each row.

    Raises:
        SettingsError: fewer than k.
    """
    tries = 2 * grader.k if grader.tries is None else grader.tries
    if tries < grader.k:
        raise SettingsError(f"evaluate.graders: {tries} tries for pass@{grader.k}", f"at least {grader.k}")
    return tries


def _paired(metric: str, sides: Sequence[Sequence[Any]]) -> _Found:
    """Put the values of both models side by side; a row that one of them lacks is left out of both."""
    wrong = {
        place: next(value for value in pair if isinstance(value, str))
        for place, pair in enumerate(zip(*sides, strict=True))
        if any(isinstance(value, str) for value in pair)
    }
    tables = []
    for side in sides:
        rows = [None if place in wrong else value for place, value in enumerate(side)]
        counted = [(0.0, 0.0) if row is None else (row, 1.0) if isinstance(row, (int, float)) else row for row in rows]
        width = max((len(row) for row in counted), default=2)
        tables.append(
            np.array([row if len(row) == width else (0.0,) * width for row in counted]).reshape(-1, width).astype(float)
        )
    return {metric: ((tables[0], tables[1]), wrong)}
