"""`metier calibrate`: make the probabilities of decisions mean what they say."""

from dataclasses import asdict
from typing import Annotated

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder


def calibrate(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A run, a version or an alias, as the server names it.")],
    project: ProjectFolder = HERE,
    json: AsJson = False,
) -> None:
    """Fit how sure a model should be of its decisions, on the validation rows; /v1/decisions then goes by that."""
    from metier.cli.desk import opened
    from metier.cli.output import put_json, put_path
    from metier.core import extras
    from metier.core.errors import InputError
    from metier.project import text_settings
    from metier.resolved import base_of

    for extra in ("train", "serve"):
        extras.require(extra)
    from metier.serve.calibrate import calibrate as fitted
    from metier.serve.catalogue import Catalogue
    from metier.serve.run import mixable

    with opened(context, project, as_json=json) as place:
        base, text = base_of(place), text_settings(place)
        served = Catalogue(place.folder, place.store, base, text=text, mixable=mixable).find(model)
        if served is None:
            raise InputError(
                f"{model[:80]}: no such model", "a run, a version or an alias", "metier versions lists them"
            )
        found = fitted(served, place.store, place.progress)
    fit = found.fit
    if json:
        put_json({"model": model, "labels": list(found.labels), **asdict(fit), "path": str(found.path)})
        return
    typer.echo(f"{model}: {len(found.labels)} answers, {fit.rows} validation rows, judged half by half")
    typer.echo(f"temperature: {fit.temperature:.3f}" + ("" if fit.gain.low > 0 else " (no other is surely better)"))
    by_chance = f"{fit.error_by_chance:.3f} would be chance alone"
    typer.echo(f"calibration error: {fit.error_before:.3f} before, {fit.error_after:.3f} after; {by_chance}")
    gain = f"{fit.gain.value:+.4f} (95 %: {fit.gain.low:+.4f} to {fit.gain.high:+.4f})"
    typer.echo(f"loss of the right answer: {fit.loss_before:.4f} nats before, {fit.loss_after:.4f} after; gain {gain}")
    put_path("Calibration", found.path)
