"""`metier prove`: the parity certificate."""

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder, RunId


def prove(context: typer.Context, run: RunId = None, project: ProjectFolder = HERE, json: AsJson = False) -> None:
    """Prove that the saved, reloaded and merged model is the trained one; names the hop that is not."""
    from metier import flow
    from metier.cli.desk import opened, run_of, stage_facts
    from metier.cli.output import put_page, put_path
    from metier.promote.report import report
    from metier.report.page import page_of

    with opened(context, project, as_json=json) as place:
        found, prepared = run_of(place, run)
        proven = flow.prove(place, found)
    facts = {"run": found.id, "folder": str(found.path), "stages": stage_facts((*prepared, proven))}
    put_page(page_of(report(found.path)), facts, as_json=json)
    if not json:
        put_path("Certificate", proven.path)
