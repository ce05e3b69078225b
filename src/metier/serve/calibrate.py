"""`metier calibrate`, `metier promote`: ask a model what it thinks of its validation rows, fit how sure it should be.

Validation rows chose the checkpoint, but no temperature: what is reported is of the half that was not fitted on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from metier.core.errors import DataError, InputError, MetierError
from metier.core.progress import Progress
from metier.core.types import Reasoned, Row
from metier.engine.decoder import Engine, opened
from metier.engine.request import End, Event
from metier.model.load import load_base, load_tuned
from metier.score.temperature import Fit, fit
from metier.serve import calibrated, deciding
from metier.serve.catalogue import Served
from metier.text import targets
from metier.text.asking import Prompt, prompt
from metier.text.render import Renderer, open_renderer
from metier.text.rows import load_split, snapshot_behind

_MOST_ROWS, _FEWEST_ROWS, _MOST_LABELS = 2000, 20, 64
_ROWS_A_LABEL = 5
"""Rows an answer from which on nobody has to say that a model decides."""
_MOST_ASKED = 1 << 14
"""Answers that a model which writes is asked about when it is promoted, each a short pass of its own."""
_SPLIT = "validation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What was fitted, for which answers, and where it is kept."""

    fit: Fit
    labels: tuple[str, ...]
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exam:
    """What a model is asked: rows with their prompts, the answers on offer, and its head (None: it writes)."""

    served: Served
    renderer: Renderer
    head: targets.Targets | None
    labels: tuple[str, ...]
    rows: Sequence[tuple[Row, Prompt]]
    left_out: int


def calibrate(served: Served, store: Path, progress: Progress) -> Calibrated:
    """Fit a temperature for the decisions of a model and keep it where a server finds it.

    Args:
        served: a run or version that answers with one of a few labels, or has a head of classes.
        store: the project's `.metier`.
        progress: told of every row.

    Raises:
        InputError: the base itself, or the rows that it was trained with are gone.
        DataError: too few rows, or answers that are no decisions.
    """
    return _fitted(_exam(served), store, progress)


def for_version(
    served: Served | None, store: Path, progress: Progress, *, wanted: Literal[True] | None, judged_by: str
) -> tuple[dict[str, Any] | None, Reasoned]:
    """Return what a version says of how sure it should be, fitted where that was not done before, and why.

    Args:
        served: what is promoted; None: nothing that answers.
        store: the project's `.metier`; what is fitted is kept there too.
        progress: told of every row.
        wanted: it must be fitted; None: where the model decides and there are rows.
        judged_by: the split that the version was evaluated on, which is never fitted on.

    Raises:
        InputError: it must be fitted and cannot be.
    """
    try:
        if served is None:
            raise InputError("nothing that answers", "a run that the server serves")
        if judged_by == _SPLIT:
            raise DataError(f"the {_SPLIT} rows are what it was evaluated on", "test rows: prepare.test_share")
        known = calibrated.kept(store, served.digest)
        if known is not None:
            return known, _chosen(True, "metier calibrate has fitted it already")
        exam = _exam(served)
        if wanted is None:
            _require_decisions(exam)
        if exam.head is None:
            exam = replace(exam, rows=exam.rows[: max(_FEWEST_ROWS, _MOST_ASKED // len(exam.labels))])
        _fitted(exam, store, progress)
    except MetierError as error:
        if wanted:
            raise
        return None, _chosen(False, f"{error.found}; wanted: {error.wanted}")
    why = "as set" if wanted else "it decides"
    told = f"{why}: {len(exam.labels)} answers, {len(exam.rows)} {_SPLIT} rows that nothing else was judged by"
    return calibrated.kept(store, served.digest), _chosen(True, told)


def _chosen(fitted: bool, reason: str) -> Reasoned:
    return Reasoned(name="promote.registry.calibrate", value=fitted, reason=reason)


def _require_decisions(exam: _Exam) -> None:
    """Check that a model that writes decides: that its answers come again and again."""
    labels, rows = len(exam.labels), len(exam.rows)
    if exam.head is None and rows < _ROWS_A_LABEL * labels:
        raise DataError(
            f"{labels} different answers in {rows} rows are no decisions",
            f"{_ROWS_A_LABEL} rows an answer, or promote.registry.calibrate: true",
        )


def _exam(served: Served) -> _Exam:
    rows = _rows(served)
    renderer = open_renderer(served.tokenizer_folder, served.text)
    asked = [(row, prompt(row, renderer)) for row in rows]
    head = targets.read(served.tokenizer_folder)
    if head is not None and head.kind != "classify":
        raise DataError(f"{served.name}: its head says {head.kind}", "one of several classes")
    labels = head.labels if head is not None else _labels(served.name, [each.reference for _, each in asked])
    known = [(row, each) for row, each in asked if each.reference in labels]
    _require_enough(served.name, len(known))
    left_out = len(asked) - len(known)
    return _Exam(served=served, renderer=renderer, head=head, labels=tuple(labels), rows=known, left_out=left_out)


def _fitted(exam: _Exam, store: Path, progress: Progress) -> Calibrated:
    served, labels = exam.served, exam.labels
    with progress.task("calibrate", len(exam.rows)) as bar, _engine(served) as engine:
        logs = []
        for _, each in exam.rows:
            logs.append(_opinion(engine, exam, each))
            bar.advance(1)
    right = np.array([labels.index(each.reference) for _, each in exam.rows])
    found = fit(np.array(logs), right, [row.group or row.id for row, _ in exam.rows])
    facts = {"name": served.name, "split": _SPLIT, "left_out": exam.left_out}
    path = calibrated.write(store, served.digest, fit=found, labels=labels, facts=facts)
    return Calibrated(fit=found, labels=labels, path=path)


def _rows(served: Served) -> Sequence[Row]:
    if served.folder is None:
        raise InputError(f"{served.name}: the base itself", "a run or a version that was trained")
    snapshot = snapshot_behind(served.folder.parent)
    if not snapshot.is_dir():
        raise InputError(f"{served.name}: its rows ({snapshot}) are gone", "the snapshot that it was trained with")
    rows = load_split(snapshot, _SPLIT)
    _require_enough(served.name, len(rows))
    return rows[:_MOST_ROWS]


def _require_enough(name: str, rows: int) -> None:
    if rows < _FEWEST_ROWS:
        raise DataError(
            f"{name}: {rows} {_SPLIT} rows", f"at least {_FEWEST_ROWS}",
            "keep more back: prepare.validation_share",
        )  # fmt: skip


def _labels(name: str, answers: Sequence[str]) -> tuple[str, ...]:
    found = tuple(sorted(set(answers)))
    if not 2 <= len(found) <= _MOST_LABELS:
        raise DataError(
            f"{name}: {len(found)} different answers in {len(answers)} rows", f"2 to {_MOST_LABELS}, as a decision has"
        )
    return found


def _engine(served: Served) -> Any:
    """Open an engine on the model, with its adapter known by its digest."""
    if served.kind == "adapter" or served.folder is None:
        return opened(load_base(served.base))
    return opened(load_tuned(served.base, served.folder))


def _opinion(engine: Engine, exam: _Exam, asked: Prompt) -> np.ndarray:
    """Return the log-probability of each label behind a prompt, float64 [K]."""
    if exam.head is not None:
        return np.log(np.maximum(deciding.head_values(engine, exam.head, asked.ids), np.finfo(np.float64).tiny))
    served, adapter = exam.served, None
    if served.kind == "adapter" and served.folder is not None:
        adapter = served.digest
        if adapter not in engine.adapters.names:
            engine.adapters.know(adapter, served.folder)
    sums = np.full(len(exam.labels), np.nan)

    def listen(place: int, event: Event) -> None:
        if isinstance(event, End):
            if event.finish not in ("length", "stop"):
                raise DataError(f"{served.name}: {event.found}", "a model that answers")
            sums[place] = sum(chance.logprob for chance in event.prompt)

    made = deciding.requests(asked.ids, exam.labels, exam.renderer, adapter=adapter, deadline=None)
    for place, request in enumerate(made):
        engine.submit(replace(request, listen=partial(listen, place)))
    while engine.busy():
        engine.step()
    return sums
