"""`metier plan`: what a training would need and how long it would take."""

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder


def plan(context: typer.Context, project: ProjectFolder = HERE, json: AsJson = False) -> None:
    """Predict memory and time of a training and of its alternatives, without weights. Exits 1 if it does not fit."""
    from metier import flow
    from metier.cli.desk import opened
    from metier.cli.output import put_page
    from metier.report.page import page_of

    with opened(context, project, as_json=json) as place:
        prepared = flow.prepare(place)
        report = flow.plan(place, flow.locate(place, prepared.path, weights=False))
    put_page(page_of(report), {}, as_json=json)
    if report.verdict.good is False:
        raise typer.Exit(1)
