"""`metier run`: every stage, then the verdict and the path of the report."""

from typing import Any

import typer

from metier.cli.boundary import as_dict
from metier.cli.options import HERE, AsJson, ProjectFolder


def run(context: typer.Context, project: ProjectFolder = HERE, json: AsJson = False) -> None:
    """Do everything: prepare, train, evaluate, prove and report. Skips what is done and unchanged."""
    from metier import flow
    from metier.cli.desk import opened, stage_facts
    from metier.cli.output import out, put_json, put_path
    from metier.report.terminal import show_summary

    with opened(context, project, as_json=json) as place:
        outcome = flow.run(place)
    html = outcome.stages[-1].path
    if not json:
        show_summary(outcome.page, out())
        put_path("Report", html)
        if outcome.broken is not None:
            raise outcome.broken
        return
    facts: dict[str, Any] = {"run": outcome.run.id, "folder": str(outcome.run.path), "html": str(html.resolve())}
    facts |= {"stages": stage_facts(outcome.stages), "report": outcome.page}
    if outcome.broken is None:
        put_json(facts)
        return
    put_json(facts | {"error": as_dict(outcome.broken)})
    raise typer.Exit(outcome.broken.exit_code)
