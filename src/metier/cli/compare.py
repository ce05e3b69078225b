"""`metier compare A B …`: models on the same rows, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder

RUNS = Path(".metier") / "runs"


def known_names(incomplete: str) -> list[str]:
    """Return what the shell may complete: `base` and the runs of the project in this folder."""
    return [name for name in ("base", *(path.name for path in sorted(RUNS.glob("*")))) if name.startswith(incomplete)]


_HELP = "`base`, a run's id or the beginning of it, prompt:FILE, remote:MODEL or classifier:WAY."


def compare(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="A", help=_HELP, autocompletion=known_names)],
    second: Annotated[str, typer.Argument(metavar="B", help=_HELP, autocompletion=known_names)],
    more: Annotated[
        list[str] | None,
        typer.Argument(metavar="[C ...]", help="More of them, each against A.", autocompletion=known_names),
    ] = None,
    project: ProjectFolder = HERE,
    json: AsJson = False,
) -> None:
    """Compare models on the same rows: stored evaluations, the base with a prompt, an endpoint, a classifier."""
    from metier import flow
    from metier.cli.desk import opened
    from metier.cli.output import put_page
    from metier.report.page import page_of

    with opened(context, project, as_json=json) as place:
        report = flow.compare(place, first, second, *(more or []))
    put_page(page_of(report), {"first": first, "second": second, "more": more or []}, as_json=json)
