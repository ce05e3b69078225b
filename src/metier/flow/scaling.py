"""From a run to the same run at another scale: what the retention frontier shows, and what it recommends as a run."""

from time import perf_counter

from metier.core import extras
from metier.core.errors import InputError
from metier.core.report import Report
from metier.flow.found import Run, Stage, named, require_trained
from metier.project import Place


def frontier(place: Place, run: Run) -> Report:
    """Measure task and retention between base and tuned model, and recommend a scale.

    Raises:
        InputError: the run is not trained yet.
        DataError: its weights cannot be scaled, or there are no validation rows.
    """
    require_trained(place, run)
    extras.require("train")
    from metier.evaluate import frontier as measured

    settings = place.project.evaluate
    measured.measure(
        run.snapshot, run.base, run.path, text=run.plan.text, settings=settings, progress=place.progress
    )  # fmt: skip
    return measured.report(run.path)


def rescale(place: Place, run: Run, scale: float | None = None) -> tuple[Run, Stage]:
    """Write a run's model at a scale as a run of its own.

    Args:
        place: the project.
        run: a trained run.
        scale: None: what the frontier recommended.

    Raises:
        InputError: the frontier was not measured, or recommends no other scale.
    """
    require_trained(place, run)
    extras.require("train")
    from metier.evaluate import frontier as measured
    from metier.promote.scale import apply

    started = perf_counter()
    wanted = measured.recommended(run.path) if scale is None else scale
    if wanted is None:
        raise InputError(f"run {run.id}: no scale keeps what the base could do", "one that does", measured.REMEDY)
    if wanted == 1:
        raise InputError(f"run {run.id}: scale 1 is recommended: the run as it is", "another scale", "nothing to write")
    path = apply(run.path, run.base, wanted, progress=place.progress)
    return named(place, path.name), Stage(name="scale", path=path, seconds=perf_counter() - started)
