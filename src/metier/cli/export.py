"""`metier export`: a run as a folder that another server loads."""

from pathlib import Path
from typing import Annotated

import typer

from metier.cli.compare import known_names
from metier.cli.options import HERE, AsJson, ProjectFolder
from metier.promote.export.kinds import Kind

_RUN = "A run's id or the beginning of it."
_TO = "The form: an adapter of PEFT's, one merged model, GGUF files, or what Ollama or vLLM start from."


def export(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help=_RUN, autocompletion=known_names)],
    to: Annotated[Kind, typer.Option("--to", help=_TO)],
    out: Annotated[
        Path | None, typer.Argument(metavar="[OUT]", help="The folder to make; left out: exports/ in the run.")
    ] = None,
    project: ProjectFolder = HERE,
    json: AsJson = False,
) -> None:
    """Write a run in the form that a server loads; it is loaded there and compared with what was trained first."""
    from metier import flow
    from metier.cli.desk import opened
    from metier.cli.output import put_page, put_path
    from metier.report.page import page_of

    with opened(context, project, as_json=json) as place:
        exported = flow.export(place, run, to, out)
    put_page(page_of(exported.report), {"path": str(exported.path)}, as_json=json)
    if not json:
        put_path("Export", exported.path)
