"""`metier bases`: which base to take, what its licence asks, what training it would need, what it scores untrained."""

from typing import Annotated

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder


def bases(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]…", help="Bundled names, folders or hub ids; none: all that are found."),
    ] = None,
    project: ProjectFolder = HERE,
    json: AsJson = False,
) -> None:
    """Compare the bases there are: size, licence, features, memory and time here, and their score on your rows."""
    from metier import flow
    from metier.advise.bases.report import report
    from metier.cli.desk import listening, opened
    from metier.cli.output import put_page, put_path
    from metier.project import FILE
    from metier.report.page import page_of

    given = tuple(names or ())
    first = next((place for place, name in enumerate(given) if name.startswith("--")), len(given))
    context.args = [*given[first:], *context.args]
    if (project / FILE).is_file():
        with opened(context, project, as_json=json) as place:
            path, facts = flow.bases(place, given[:first])
    else:
        with listening(as_json=json) as progress:
            path, facts = None, flow.bases_anywhere(project, given[:first], progress)
    put_page(page_of(report(facts)), facts, as_json=json)
    if not json and path is not None:
        put_path("Report", path / "report.html")
