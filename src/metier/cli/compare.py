"""`metier compare A B`: two stored evaluations, side by side."""

from typing import Annotated

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="`base`, or a run's id or the beginning of it.")],
    second: Annotated[str, typer.Argument(metavar="B", help="`base`, or a run's id or the beginning of it.")],
    project: ProjectFolder = HERE,
    json: AsJson = False,
) -> None:
    """Compare two models by their stored evaluations; the same thing twice is identical."""
    from metier import flow
    from metier.cli.output import put_page
    from metier.project import load
    from metier.report.page import page_of

    place = flow.Place(project=load(project), folder=project)
    put_page(page_of(flow.compare(place, first, second)), {"first": first, "second": second}, as_json=json)
