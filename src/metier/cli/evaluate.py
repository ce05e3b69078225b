"""`metier evaluate`: the trained run against its base."""

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder, RunId


def evaluate(context: typer.Context, run: RunId = None, project: ProjectFolder = HERE, json: AsJson = False) -> None:
    """Compare the trained model with its base on the same held-out rows, with intervals."""
    from metier import flow
    from metier.cli.desk import opened, run_of, stage_facts
    from metier.cli.output import put_page, put_path
    from metier.evaluate.report import report
    from metier.report.page import page_of

    with opened(context, project, as_json=json) as place:
        found, prepared = run_of(place, run)
        evaluated = flow.evaluate(place, found)
    facts = {"run": found.id, "folder": str(found.path), "stages": stage_facts((*prepared, evaluated))}
    put_page(page_of(report(found.path)), facts, as_json=json)
    if not json:
        put_path("Evaluation", evaluated.path)
