"""`metier rollout`: try a candidate behind a name that people use, look how it does, end it."""

from typing import Annotated, Literal

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder


def rollout(
    context: typer.Context,
    alias: Annotated[
        str,
        typer.Argument(help="The name that people use, such as desk, or an alias of the registry, support@production."),
    ],
    between: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="STABLE CANDIDATE", help="Start one: what serves now, and what is tried."),
    ] = None,
    end: Annotated[
        Literal["promote", "back", "stop"] | None,
        typer.Option(help="End the one that runs: all traffic to the candidate, or back to what served before."),
    ] = None,
    project: ProjectFolder = HERE,
    json: AsJson = False,
) -> None:
    """Divide the traffic of a name between two models (serve.rollouts says how), show how it goes, or end it."""
    from metier.cli.desk import opened
    from metier.cli.output import put_json
    from metier.core import extras
    from metier.core.errors import InputError
    from metier.project import text_settings
    from metier.resolved import base_of

    extras.require("serve")
    from metier.serve.audit import Audit
    from metier.serve.database import connect
    from metier.serve.rollouts.book import ENDS, Rollouts, wanted_of
    from metier.serve.rollouts.served import named, require_served
    from metier.serve.rollouts.told import lines, told

    with opened(context, project, as_json=json) as place:
        place.open_store()
        database = connect(place.store)
        rollouts, audit = Rollouts(database, place.store), Audit(database, place.store)
        if between is not None:
            wanted = wanted_of(place.project.serve.rollouts, alias, between)
            require_served(named(place.folder, place.store, base_of(place), text_settings(place)), wanted)
            rollouts.start(wanted)
            audit.note("command line", f"start {alias}", stable=between[0], candidate=between[1])
        found = rollouts.of(alias)
        if found is None:
            raise InputError(f"rollout {alias}: none", "one that was started", f"metier rollout {alias} --between A B")
        if end is not None:
            if not rollouts.end(found, ENDS[end], "asked for"):
                raise InputError(f"rollout {alias}: is {found.state}", "one that is running")
            audit.note("command line", f"{end} {alias}", stable=found.stable, candidate=found.candidate)
            found = rollouts.of(alias) or found
        facts = told(rollouts, found)
    if json:
        put_json(facts)
        return
    for line in lines(facts):
        typer.echo(line)
