"""`metier report`: everything known about the run, as one HTML file, Markdown and JSON."""

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder, RunId


def report(context: typer.Context, run: RunId = None, project: ProjectFolder = HERE, json: AsJson = False) -> None:
    """Write everything known about the run as one HTML file, and show it."""
    from metier import flow
    from metier.cli.desk import opened, run_of, stage_facts
    from metier.cli.output import put_page, put_path

    with opened(context, project, as_json=json) as place:
        found, prepared = run_of(place, run)
        written = flow.report(place, found)
        page = flow.page_of_run(place, found)
    facts = {"run": found.id, "html": str(written.path.resolve()), "stages": stage_facts((*prepared, written))}
    put_page(page, facts, as_json=json)
    if not json:
        put_path("Report", written.path)
