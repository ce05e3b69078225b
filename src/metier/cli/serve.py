"""`metier serve`, `metier key`, `metier audit`: the server, who may ask it, and who changed what."""

from typing import Annotated

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder


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
    tenant: Annotated[
        str, typer.Option(metavar="NAME", help="Whose it is: keys of one tenant see the same files and jobs.")
    ] = "",
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=N", help="requests=N or tokens=N a minute, instead of what serve.limits says."),
    ] = None,
    revoke: Annotated[bool, typer.Option("--revoke", metavar="", help="Let this name's keys open nothing.")] = False,
    project: ProjectFolder = HERE,
) -> None:
    """Make an API key for the server and print it once, or revoke those of a name."""
    from metier.core import extras
    from metier.core.errors import InputError
    from metier.project import STORE, load

    load(project)  # a key belongs to a project
    extras.require("serve")
    from metier.serve.audit import Audit
    from metier.serve.database import connect
    from metier.serve.keys import Allowance, Keys

    store = project / STORE
    database = connect(store)
    keys, audit = Keys(database), Audit(database, store)
    if revoke:
        count = keys.revoke(name)
        if not count:
            raise InputError(f"key {name}: none that opens anything", "the name that a key was made for")
        audit.note("command line", "key revoke", name=name, keys=count)
        typer.echo(f"{count} keys of {name} revoked")
        return
    allowance = Allowance(tenant=tenant, **_per_minute(limit or []))
    scopes = scope or ["infer"]
    made = keys.make(name, scopes, allowance)
    audit.note("command line", "key make", name=name, scopes=scopes, tenant=tenant)
    typer.echo(made)


def _per_minute(limits: list[str]) -> dict[str, int]:
    """Return `["requests=60"]` as the names and numbers of an allowance.

    Raises:
        InputError: another kind, or no number.
    """
    from metier.core.errors import InputError

    found = {}
    for text in limits:
        kind, _, number = text.partition("=")
        if kind not in ("requests", "tokens") or not number.isdecimal() or int(number) < 1:
            raise InputError(f"--limit {text}", "requests=N or tokens=N, a minute")
        found[f"{kind}_per_minute"] = int(number)
    return found


def audit(
    last: Annotated[int, typer.Option(metavar="N", min=0, help="Print the last N lines too.")] = 10,
    project: ProjectFolder = HERE,
    json: AsJson = False,
) -> None:
    """Check that no line of the server's audit log was changed or taken out, and print the last ones."""
    from datetime import UTC, datetime

    from metier.cli.output import put_json
    from metier.core import extras
    from metier.project import STORE, load

    load(project)
    extras.require("serve")
    from metier.serve.audit import Audit
    from metier.serve.database import connect

    log = Audit(connect(project / STORE), project / STORE)
    verdict, lines = log.verify(), log.lines(last)
    if json:
        put_json({"lines": verdict.lines, "digest": verdict.digest, "faults": verdict.faults, "last": lines})
    else:
        for line in reversed(lines):
            moment = datetime.fromtimestamp(line["milliseconds"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
            facts = " ".join(f"{name}={value!r}" for name, value in line["facts"].items())
            typer.echo(f"{line['number']:>6}  {moment}  {line['who']}  {ascii(line['action'])[1:-1]}  {facts}")
        for fault in verdict.faults:
            typer.echo(f"fault: {fault}", err=True)
        typer.echo(f"{verdict.lines} lines, {'unbroken' if not verdict.faults else 'BROKEN'}; last {verdict.digest}")
    if verdict.faults:
        raise typer.Exit(1)
