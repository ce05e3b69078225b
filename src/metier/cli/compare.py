"""`metier compare A B`: two stored evaluations, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder

RUNS = Path(".metier") / "runs"


def known_names(incomplete: str) -> list[str]:
    """Return what the shell may complete: `base` and the runs of the project in this folder."""
    return [name for name in ("base", *(path.name for path in sorted(RUNS.glob("*")))) if name.startswith(incomplete)]


_HELP = "`base`, or a run's id or the beginning of it."


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help=_HELP, autocompletion=known_names)],
    second: Annotated[str, typer.Argument(metavar="B", help=_HELP, autocompletion=known_names)],
    project: ProjectFolder = HERE,
    json: AsJson = False,
) -> None:
    """Compare two models by their stored evaluations; the same thing twice is identical."""
    from metier import flow
    from metier.cli.output import put_page
    from metier.project import Place, load
    from metier.report.page import page_of

    place = Place(project=load(project), folder=project)
    put_page(page_of(flow.compare(place, first, second)), {"first": first, "second": second}, as_json=json)
