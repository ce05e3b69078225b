"""The whole way, in the order of life."""

from dataclasses import dataclass

from metier.core.errors import ParityError
from metier.flow.data import prepare
from metier.flow.found import Run, Stage, locate
from metier.flow.judging import evaluate
from metier.flow.proving import prove
from metier.flow.telling import page_of_run, report
from metier.flow.training import train
from metier.project import Place
from metier.report.page import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the whole way left. `broken` is the breach of parity, raised by whoever has shown the page."""

    run: Run
    stages: tuple[Stage, ...]
    page: Page
    broken: ParityError | None = None


def run(place: Place) -> Outcome:
    """Take the whole way: prepare, train, evaluate, prove, report. Done and unchanged stages are skipped.

    A broken parity does not keep the report from being written; it is in the outcome.
    """
    prepared = prepare(place)
    found = locate(place, prepared.path)
    stages = [prepared, train(place, found), evaluate(place, found)]
    broken: ParityError | None = None
    try:
        stages.append(prove(place, found))
    except ParityError as error:
        broken = error
    stages.append(report(place, found))
    return Outcome(run=found, stages=tuple(stages), page=page_of_run(place, found), broken=broken)
