"""`metier calibrate`: ask a model what it thinks of its validation rows, and fit how sure it should be.

Validation rows chose the checkpoint, but no temperature: what is reported is of the half that was not fitted on.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from metier.core.errors import DataError, InputError
from metier.core.progress import Progress
from metier.core.types import Row
from metier.engine.decoder import Engine, opened
from metier.engine.request import End, Event
from metier.model.load import load_base, load_tuned
from metier.score.temperature import Fit, fit
from metier.serve import calibrated, deciding
from metier.serve.catalogue import Served
from metier.text import targets
from metier.text.render import Prompt, Renderer, open_renderer, prompt
from metier.text.rows import load_split

_MOST_ROWS, _FEWEST_ROWS, _MOST_LABELS = 2000, 20, 64
_SPLIT = "validation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What was fitted, for which answers, and where it is kept."""

    fit: Fit
    labels: tuple[str, ...]
    path: Path


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
    rows = _rows(served)
    renderer = open_renderer(served.tokenizer_folder, served.text)
    asked = [(row, prompt(row, renderer)) for row in rows]
    head = targets.read(served.tokenizer_folder)
    if head is not None and head.kind != "classify":
        raise DataError(f"{served.name}: its head says {head.kind}", "one of several classes")
    labels = head.labels if head is not None else _labels(served.name, [each.reference for _, each in asked])
    known = [(row, each) for row, each in asked if each.reference in labels]
    with progress.task("calibrate", len(known)) as bar, _engine(served) as engine:
        logs = []
        for _, each in known:
            logs.append(_opinion(engine, served, each, renderer=renderer, head=head, labels=labels))
            bar.advance(1)
    right = np.array([labels.index(each.reference) for _, each in known])
    found = fit(np.array(logs), right, [row.group or row.id for row, _ in known])
    facts = {"name": served.name, "split": _SPLIT, "left_out": len(asked) - len(known)}
    path = calibrated.write(store, served.digest, fit=found, labels=labels, facts=facts)
    return Calibrated(fit=found, labels=tuple(labels), path=path)


def _rows(served: Served) -> Sequence[Row]:
    if served.folder is None:
        raise InputError(f"{served.name}: the base itself", "a run or a version that was trained")
    snapshot = Path(json.loads((served.folder.parent / "settings.json").read_text(encoding="utf-8"))["snapshot"])
    if not snapshot.is_dir():
        raise InputError(f"{served.name}: its rows ({snapshot}) are gone", "the snapshot that it was trained with")
    rows = load_split(snapshot, _SPLIT)
    if len(rows) < _FEWEST_ROWS:
        raise DataError(
            f"{served.name}: {len(rows)} {_SPLIT} rows", f"at least {_FEWEST_ROWS}",
            "keep more back: prepare.validation_share",
        )  # fmt: skip
    return rows[:_MOST_ROWS]


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


def _opinion(
    engine: Engine, served: Served, asked: Prompt, *, renderer: Renderer, head: targets.Targets | None,
    labels: Sequence[str],
) -> np.ndarray:  # fmt: skip
    """Return the log-probability of each label behind a prompt, float64 [K]."""
    if head is not None:
        return np.log(np.maximum(deciding.head_values(engine, head, asked.ids), np.finfo(np.float64).tiny))
    adapter = None
    if served.kind == "adapter" and served.folder is not None:
        adapter = served.digest
        if adapter not in engine.adapters.names:
            engine.adapters.know(adapter, served.folder)
    sums = np.full(len(labels), np.nan)

    def listen(place: int, event: Event) -> None:
        if isinstance(event, End):
            if event.finish not in ("length", "stop"):
                raise DataError(f"{served.name}: {event.found}", "a model that answers")
            sums[place] = sum(chance.logprob for chance in event.prompt)

    made = deciding.requests(asked.ids, labels, renderer.tokenizer, adapter=adapter, deadline=None)
    for place, request in enumerate(made):
        engine.submit(replace(request, listen=partial(listen, place)))
    while engine.busy():
        engine.step()
    return sums
