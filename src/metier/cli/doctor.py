"""`metier doctor`: what this machine can do."""

from typing import Annotated

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder


def doctor(
    project: ProjectFolder = HERE,
    deep: Annotated[
        bool, typer.Option("--deep", metavar="", help="Also import torch and measure it; takes seconds.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Show what this machine can do and what is missing, with the line that installs it. Exits 1 if it cannot train."""
    from metier.cli.machine import examine
    from metier.cli.output import put_page
    from metier.report.page import page_of

    report = examine(project, deep=deep)
    put_page(page_of(report), {}, as_json=json)
    if report.verdict.good is False:
        raise typer.Exit(1)
