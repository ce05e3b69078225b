"""`metier train`: prepare if needed, then train or go on training."""

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder


def train(context: typer.Context, project: ProjectFolder = HERE, json: AsJson = False) -> None:
    """Train on the snapshot, or go on where an interrupted training stopped."""
    from metier import flow
    from metier.cli.desk import opened, stage_facts
    from metier.cli.output import put_page, put_path
    from metier.report.page import page_of
    from metier.train.report import report

    with opened(context, project, as_json=json) as place:
        prepared = flow.prepare(place)
        run = flow.locate(place, prepared.path)
        trained = flow.train(place, run)
    facts = {"run": run.id, "folder": str(run.path), "stages": stage_facts((prepared, trained))}
    put_page(page_of(report(run.path)), facts, as_json=json)
    if not json:
        put_path("Run", run.path)
