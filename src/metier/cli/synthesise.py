"""`metier synthesise`: new training rows from a teacher, at a cost that is shown before it is spent."""

import sys
from typing import Annotated

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder


def synthesise(
    context: typer.Context,
    project: ProjectFolder = HERE,
    yes: Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Spend what it costs without asking.")] = False,
    json: AsJson = False,
) -> None:
    """Ask a larger model for rows in the manner of the training rows; filter, mark and write them to a file."""
    from metier import flow
    from metier.cli.desk import opened
    from metier.cli.output import put_json, put_page, put_path
    from metier.core.errors import InputError
    from metier.prepare.synthesise.report import in_words, report
    from metier.prepare.synthesise.run import Estimate, Workplace
    from metier.prepare.synthesise.run import synthesise as ask
    from metier.report.page import page_of

    def confirm(estimate: Estimate) -> bool:
        """Show the cost and ask."""
        if not json:
            typer.echo(in_words(estimate), err=True)
        if yes:
            return True
        if json or not sys.stdin.isatty():
            raise InputError(in_words(estimate), "your word for it", "run it again with --yes")
        return typer.confirm("Go on?", err=True)

    with opened(context, project, as_json=json) as place:
        prepared = flow.prepare(place)
        settings = place.project.prepare.further.synthesise
        where = Workplace(
            snapshot=prepared.path, folder=place.folder, store=place.store, progress=place.progress,
            seed=place.project.seed, columns=place.project.prepare.columns,
        )  # fmt: skip
        result = ask(where, settings, confirm=confirm)
    if result is None:
        put_json({"rows": 0, "asked": 0}) if json else typer.echo("Nothing was asked.")
        return
    facts = {
        "output": str(result.output), "rows": len(result.kept), "asked": result.asked,
        "stopped": result.stopped or None,
    }  # fmt: skip
    put_page(page_of(report(result, settings)), facts, as_json=json)
    if not json:
        put_path("Rows", result.output)
