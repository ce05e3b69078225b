"""`metier promote` and `metier rollback`: what is served under an alias, and back to what was served before."""

from typing import Annotated

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder

_RUN = (
    "A run's id or the beginning of it, or a version (`NAME@7`, `NAME@candidate`); left out: the run of these settings."
)
_ALIAS = "What shall mean the version: `production`, `candidate`, or any name."


def promote(
    context: typer.Context,
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help=_RUN)] = None,
    alias: Annotated[str, typer.Option("--alias", metavar="NAME", help=_ALIAS)] = "production",
    despite: Annotated[
        str | None, typer.Option("--despite", metavar="REASON", help="Promote though the answer is no, and keep why.")
    ] = None,
    project: ProjectFolder = HERE,
    json: AsJson = False,
) -> None:
    """Ask gate, parity and licences; make a signed version of a run, let an alias mean it. Exits 1 if they say no."""
    from metier import flow
    from metier.cli.desk import opened
    from metier.cli.output import put_page, put_path
    from metier.core.registry import checked
    from metier.promote.registry import told
    from metier.report.page import page_of

    with opened(context, project, as_json=json) as place:
        done = flow.promote(place, run, alias=alias, despite=despite)
        facts = checked(done.version, place.store) | {"decision": done.decision.as_dict()}
    summary = {"version": done.version.reference, "alias": alias, "folder": str(done.version.path)}
    put_page(page_of(told.promoted(done.version, done.move, facts)), summary, as_json=json)
    if not json:
        put_path("Version", done.version.path)


def rollback(
    alias: Annotated[str, typer.Argument(metavar="[ALIAS]", help="`production`, or `NAME@production`.")] = "production",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept in the history.")] = "",
    project: ProjectFolder = HERE,
    json: AsJson = False,
) -> None:
    """Let an alias mean again the version before its last promotion, after that version was checked."""
    from metier import flow
    from metier.cli.output import put_json
    from metier.project import Place, load

    place = Place(project=load(project), folder=project)
    move = flow.rollback(place, alias, reason=reason)
    if json:
        put_json({"name": move.name, "alias": move.alias, "version": f"{move.name}@{move.number}"})
    else:
        typer.echo(f"{move.name}@{move.alias} is {move.name}@{move.number} again")
