"""What one grader says of one model's answers, row by row; imports no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from metier.core.errors import SettingsError
from metier.core.progress import Progress, Silent
from metier.score.graders import formula, judge, local, programs
from metier.score.graders.openai import LabelModel, Multi, Part, PythonGrader, ScoreModel
from metier.score.graders.own import Checker, Code, Pairwise
from metier.score.graders.places import Shown
from metier.score.graders.programs import Value
from metier.score.graders.settings import Grader, JudgeSettings, named
from metier.score.metrics import metric_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What graders reach for: files below `folder`, the judge, and who is told of judgements."""

    folder: Path
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    progress: Progress = field(default_factory=Silent)


def require_rewarding(grader: Grader) -> None:
    """Check that a grader gives one number to one answer.

    Raises:
        SettingsError: it compares two models, or wants several answers.
    """
    if isinstance(grader, Pairwise) or (isinstance(grader, Code) and grader.k > 1):
        wants = "two models' answers" if isinstance(grader, Pairwise) else "several answers (pass@k)"
        raise SettingsError(f"grader '{named(grader)}': looks at {wants}", "a grader that gives a number to one answer")


def rewards(grader: Grader, rows: Sequence[Shown], bench: Bench) -> list[Value]:
    """Return a number in [0, 1] for each answer, or in words why there is none; see `require_rewarding`.

    Of a grader with several metrics it is the first: F1 of the fields, of the spans, the same calls.
    """
    if isinstance(grader, (Checker, Multi, PythonGrader, ScoreModel, LabelModel)):
        return values(grader, rows, bench)
    return [_in_share(value) for value in _first(grader, rows, bench)]


def _first(grader: Grader, rows: Sequence[Shown], bench: Bench) -> list[Value]:
    """Return the first metric of a grader that needs nothing but texts, as a number for each row."""
    metric, entries = next(iter(local.grade(grader, named(grader), rows, folder=bench.folder).items()))
    statistic = metric_of(metric).statistic
    return [_one(entry, statistic) for entry in entries]


def _one(entry: Any, statistic: Callable[[np.ndarray], Any]) -> Any:
    """Return the number that an entry of `local.Metrics` is; sums over nothing (no field at all) are 0."""
    if isinstance(entry, (str, int, float)):
        return entry
    value = float(statistic(np.asarray(entry, dtype=np.float64)))
    return value if np.isfinite(value) else 0.0


def values(grader: Checker | Multi | Part, rows: Sequence[Shown], bench: Bench) -> list[Value]:
    """Return a number in [0, 1] for each row, or why there is none."""
    match grader:
        case Checker():
            found = programs.checker(bench.folder / grader.path, grader.function, rows)
        case Multi():
            found = together(grader, {name: values(part, rows, bench) for name, part in grader.graders.items()})
        case PythonGrader():
            found = _passed(programs.python(grader.source, rows), grader.pass_threshold)
        case ScoreModel():
            found = _scored(grader, rows, bench)
        case LabelModel():
            read = judge.read_label(grader.labels)
            said = _judged(grader, rows, bench, read, f"Answer with one of: {', '.join(grader.labels)}.")
            passing = set(grader.passing_labels)
            found = [float(label in passing) if label in grader.labels else label for label in said]
        case _:
            found = _first(grader, rows, bench)
    return [_in_share(value) for value in found]


def _in_share(value: Any) -> Value:
    if isinstance(value, str):
        return value
    return float(value) if 0 <= value <= 1 else f"gave {value:g}, wanted a number from 0 to 1"


def _scored(grader: ScoreModel, rows: Sequence[Shown], bench: Bench) -> list[Value]:
    low, high = grader.range
    hint = f"Answer with one number from {low:g} to {high:g}."
    said = _judged(grader, rows, bench, judge.read_number(low, high), hint)
    if grader.pass_threshold is not None:
        return _passed(said, grader.pass_threshold)
    return [value if isinstance(value, str) else (value - low) / (high - low) for value in said]


def _judged(
    grader: ScoreModel | LabelModel, rows: Sequence[Shown], bench: Bench, read: Callable[[str], Any], hint: str
) -> list[Any]:
    model = judge.require(bench.judge, grader.model)
    requests = [
        ([*local.filled(grader.input, row), {"role": "user", "content": hint}], grader.sampling_params) for row in rows
    ]
    return judge.ask_all(requests, read, model=model, settings=bench.judge, progress=bench.progress)


def _passed(found: Sequence[Value], threshold: float | None) -> list[Value]:
    if threshold is None:
        return list(found)
    return [value if isinstance(value, str) else float(value >= threshold) for value in found]


def together(grader: Multi, parts: Mapping[str, Sequence[Value]]) -> list[Value]:
    """Put what the parts of a `multi` grader say together, row by row."""
    calculate = formula.compiled(grader.calculate_output, grader.graders)
    found: list[Value] = []
    for row in zip(*parts.values(), strict=True):
        numbers = dict(zip(parts, row, strict=True))
        broken = next((f"{name}: {value}" for name, value in numbers.items() if isinstance(value, str)), None)
        if broken is not None:
            found.append(broken)
            continue
        try:
            found.append(calculate({name: float(value) for name, value in numbers.items()}))
        except (ArithmeticError, ValueError) as error:
            found.append(f"{type(error).__name__}: {error}")
    return found
