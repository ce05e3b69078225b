"""Compare any two of: the base, one run, another run, from their stored evaluations; imports no torch."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metier.core.errors import DataError
from metier.core.report import Cell, Example, Report, Verdict
from metier.evaluate import conditions, stored, tables
from metier.evaluate.metrics import Side
from metier.evaluate.questions import Question
from metier.evaluate.settings import EvaluateSettings
from metier.evaluate.stored import Evaluation, Which
from metier.evaluate.summary import summarise
from metier.evaluate.task import METRICS_OF, deciding_metric, recognise
from metier.evaluate.wording import sentence
from metier.evaluate.worst import worst
from metier.score import calibration, sureness
from metier.score.graders.settings import named
from metier.score.metrics import metric_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """One of the two: whose answers, from which evaluation, under which name."""

    name: str
    which: Which
    evaluation: Evaluation

    @property
    def side(self) -> Side:
        return dataclasses.replace(self.evaluation.sides[self.which], name=self.name)

    @property
    def digest(self) -> str:
        return self.evaluation.facts["conditions"][self.which]["digest"]


def compare(first: Path | Evaluation | None, second: Path | Evaluation | None) -> Report:
    """Say whether the second is better than the first, on the same held-out rows.

    Args:
        first: a run's folder, an opponent that was asked, or None for the base.
        second: the same. A run against None is compared with the base it was evaluated against.

    Raises:
        DataError: a run was not evaluated, or the two were evaluated under conditions that differ.
    """
    if first is None and second is None:
        return Report(
            title="base against base",
            verdict=Verdict(text="identical: the base is the base", good=None, asked=False),
            command="metier compare base base",
        )
    parts = _parts(first, second)
    command = f"metier compare {parts[0].name} {parts[1].name}"
    title = f"{parts[0].name} against {parts[1].name}"
    if parts[0].digest == parts[1].digest:
        text = "identical: the same weights, byte for byte"
        return Report(title=title, verdict=Verdict(text=text, good=None, asked=False), command=command)
    _require_same_rows(*parts)
    return _told(parts, title, command)


@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded:
    """What `compare` says, as values: who, where they were not asked alike, and the metric that decides of both.

    `confidence`: that of the intervals.
    """

    names: tuple[str, str]
    differing: list[str]
    verdict: dict[str, Any]
    confidence: float


def conclude(first: Path | Evaluation | None, second: Path | Evaluation | None) -> Concluded:
    """Return what `compare` concludes.

    Raises:
        DataError: as `compare`.
    """
    parts = _parts(first, second)
    _require_same_rows(*parts)
    drawn = _drawn(parts)
    same = {"verdict": "identical", "more_rows": None, "p": None} if parts[0].digest == parts[1].digest else {}
    names = (parts[0].name, parts[1].name)
    verdict = drawn.facts["verdict"] | same
    return Concluded(names=names, differing=drawn.differing, verdict=verdict, confidence=drawn.settings.confidence)


def _parts(first: Path | Evaluation | None, second: Path | Evaluation | None) -> tuple[_Part, _Part]:
    """Read the evaluations; the base is the one that the other side was evaluated against."""
    evaluations = [stored.read(run) if isinstance(run, Path) else run for run in (first, second)]
    whole = evaluations[0] or evaluations[1]
    assert whole is not None
    found = [
        _Part(name="base", which="base", evaluation=whole)
        if entry is None
        else _Part(name=entry.facts["conditions"]["tuned"]["name"], which="tuned", evaluation=entry)
        for entry in evaluations
    ]
    return found[0], found[1]


def _require_same_rows(first: _Part, second: _Part) -> None:
    """Refuse to compare what was measured on other rows."""
    different = conditions.unpairable(*(part.evaluation.facts["conditions"] for part in (first, second)))
    if different:
        raise DataError(
            f"{first.name} and {second.name} were evaluated on different conditions: {', '.join(different)}",
            "the same held-out rows",
            "evaluate both again with the same data and the same `evaluate` settings",
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Drawn:
    """Both sides as far as they can be held against each other, and what follows."""

    sides: tuple[Side, Side]
    settings: EvaluateSettings
    differing: list[str]
    facts: dict[str, Any]


def _drawn(parts: tuple[_Part, _Part]) -> _Drawn:
    """Summarise two evaluations of the same rows in pairs."""
    asked = parts[1].evaluation.facts["conditions"]
    settings = _sure_alike(parts, EvaluateSettings.model_validate(asked["settings"]))
    questions = parts[1].evaluation.questions
    sides, settings = _measured_alike(questions, _graded_alike(parts, settings), settings)
    settings = _decided_alike(sides, settings)
    differing = conditions.different(parts[0].evaluation.facts["conditions"], asked)
    facts = summarise(questions, *sides, settings, differing=differing)
    return _Drawn(sides=sides, settings=settings, differing=differing, facts=facts)


def _told(parts: tuple[_Part, _Part], title: str, command: str) -> Report:
    names = (parts[0].name, parts[1].name)
    asked, questions = parts[1].evaluation.facts["conditions"], parts[1].evaluation.questions
    drawn = _drawn(parts)
    sides, settings, facts = drawn.sides, drawn.settings, drawn.facts
    evidence = (
        tables.metrics_table(facts, names, settings.confidence),
        tables.slices_table(facts, names),
        tables.fields_table(facts, names),
        tables.confusions_table(facts, names),
        tables.labels_table(facts, names),
    )
    rows = worst(questions, *sides, task=facts["task"]["value"], most=settings.worst)
    told = sentence(facts["verdict"], confidence=settings.confidence, names=names)
    identical = facts["verdict"]["verdict"] == "identical"
    return Report(
        title=title,
        verdict=Verdict(text=told.text, good=None, asked=False) if identical else told,
        facts=_facts(facts, asked, names),
        tables=tuple(table for table in evidence if table is not None),
        figures=tuple(
            figure
            for figure in (tables.fields_figure(facts, names), tables.labels_figure(facts, names))
            if figure is not None
        ),
        examples=tuple(_example(questions, sides, names, entry) for entry in rows),
        command=command,
    )


def _graded_alike(parts: tuple[_Part, _Part], settings: EvaluateSettings) -> tuple[Side, Side]:
    """Keep what graders said of both: on rows graded in both, and no judge's word on another pair of answers."""
    sides = [part.side for part in parts]
    apart = parts[0].evaluation.run != parts[1].evaluation.run
    pairwise = {f"graded/mean/{named(grader)}" for grader in settings.graders if grader.type == "pairwise" and apart}
    shared = [name for name in sides[1].graded if name in sides[0].graded and name not in pairwise]
    both = {name: np.all([side.graded[name].any(axis=1) for side in sides], axis=0) for name in shared}
    one, other = (
        dataclasses.replace(side, graded={name: side.graded[name] * both[name][:, None] for name in shared})
        for side in sides
    )
    return one, other


def _decided_alike(sides: tuple[Side, Side], settings: EvaluateSettings) -> EvaluateSettings:
    """Let the task's own metric decide where a grader was to and did not look at both."""
    names = [named(grader) for grader in settings.graders]
    shared = [key.split("/", 2)[2] for key in sides[0].graded]
    is_grader = any(settings.metric.startswith(name) for name in names) and settings.metric not in shared
    return settings.model_copy(update={"metric": "auto"}) if is_grader else settings


def _sure_alike(parts: tuple[_Part, _Part], settings: EvaluateSettings) -> EvaluateSettings:
    """Let the task's own metric decide where calibration was to and one of the two does not say how sure it is."""
    told = all(sureness.CONFIDENCE in part.side.numbers for part in parts)
    undecided = settings.metric in calibration.METRICS and not told
    return settings.model_copy(update={"metric": "auto"}) if undecided else settings


def _measured_alike(
    questions: tuple[Question, ...], sides: tuple[Side, Side], settings: EvaluateSettings
) -> tuple[tuple[Side, Side], EvaluateSettings]:
    """Leave out what one of the two does not tell, as an endpoint or a classifier its losses: answers decide there."""
    if all(side.tokens.any() for side in sides) or any(question.headed for question in questions):
        return sides, settings
    none = np.zeros(len(questions))
    one, other = (dataclasses.replace(side, nats=none, tokens=none) for side in sides)
    if settings.metric in ("loss", "preferred"):
        raise DataError(
            f"evaluate.metric: {settings.metric}", "a metric of the answers", "one of the two tells no loss"
        )
    task = recognise(questions, settings).value
    deciding = deciding_metric(questions, task, settings).value
    if deciding == "loss":
        settings = settings.model_copy(update={"metric": "word_f1"})
    if deciding == "preferred":
        settings = settings.model_copy(update={"metric": METRICS_OF[task][0]})
    return (one, other), settings


def _facts(facts: dict[str, Any], asked: dict[str, Any], names: tuple[str, str]) -> tuple[tuple[str, Cell], ...]:
    verdict = facts["verdict"]
    lines: list[tuple[str, Cell]] = [
        ("rows asked", f"{asked['rows']:,} of the {asked['split']} split"),
        ("metric that decides", f"{metric_of(facts['metric']['value']).title} ({facts['metric']['reason']})"),
    ]
    if verdict["gained"] is not None:
        lines.append((f"right only in {names[1]}", verdict["gained"]))
        lines.append((f"right only in {names[0]}", verdict["lost"]))
    return tuple(lines)


def _example(
    questions: tuple[Question, ...], sides: tuple[Side, Side], names: tuple[str, str], entry: dict[str, Any]
) -> Example:
    question = questions[entry["row"]]
    said = [side.outputs[entry["row"]] for side in sides]
    return Example(
        source=question.source,
        prompt=question.prompt,
        reference=question.reference or "",
        outputs=tuple((name, text) for name, text in zip(names, said, strict=True) if text is not None),
        note=entry["note"],
    )
