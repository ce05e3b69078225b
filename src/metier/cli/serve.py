"""`metier serve` and `metier key`: what was trained behind the API of OpenAI's clients, and who may ask it."""

from typing import Annotated

import typer

from metier.cli.options import HERE, ProjectFolder


def serve(context: typer.Context, project: ProjectFolder = HERE) -> None:
    """Serve the base and everything trained on it over HTTP, for OpenAI's clients."""
    from metier.cli.desk import opened
    from metier.core import extras
    from metier.project import text_settings
    from metier.resolved import base_of

    for extra in ("train", "serve"):
        extras.require(extra)
    from metier.serve.run import serve as listen

    with opened(context, project, as_json=False) as place:
        base, text = base_of(place), text_settings(place)
        place.open_store()
    listen(place.folder, place.store, base=base, text=text, settings=place.project.serve)


def key(
    name: Annotated[str, typer.Argument(help="Who it is for.")],
    scope: Annotated[
        list[str] | None, typer.Option(metavar="SCOPE", help="What it may do: infer, train or admin; repeat for more.")
    ] = None,
    revoke: Annotated[bool, typer.Option("--revoke", metavar="", help="Let this name's keys open nothing.")] = False,
    project: ProjectFolder = HERE,
) -> None:
    """Make an API key for the server and print it once, or revoke those of a name."""
    from metier.core import extras
    from metier.project import STORE, load

    load(project)  # a key belongs to a project
    extras.require("serve")
    from metier.serve.database import connect
    from metier.serve.keys import Keys

    keys = Keys(connect(project / STORE))
    if revoke:
        typer.echo(f"{keys.revoke(name)} keys of {name} revoked")
    else:
        typer.echo(keys.make(name, scope or ["infer"]))
