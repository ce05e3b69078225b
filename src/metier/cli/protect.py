"""`metier protect`: look for personal data in any text file, make a key, lead pseudonyms back."""

from pathlib import Path
from typing import Annotated

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder


def protect(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A text or JSON Lines file to look through.")
    ] = None,
    project: ProjectFolder = HERE,
    reveal: Annotated[
        bool, typer.Option("--reveal", metavar="", help="Print FILE with pseudonyms led back; needs key and map.")
    ] = False,
    new_key: Annotated[
        Path | None, typer.Option("--new-key", metavar="FILE", help="Write a new key for pseudonyms and end.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Count personal data and secrets in a file, line by line, without showing them; exit 1 when there are any."""
    from metier.cli.desk import check_names
    from metier.cli.output import put_json, put_page, put_path
    from metier.core import extras
    from metier.core.errors import InputError
    from metier.prepare.protect import reading
    from metier.prepare.protect.settings import ProtectSettings
    from metier.prepare.protect.vault import new_key as make_key
    from metier.project import FILE, STORE, load
    from metier.report.page import page_of

    extras.require("protect")
    if new_key is not None:
        make_key(new_key)
        put_json({"key": str(new_key)}) if json else put_path("Key", new_key)
        return
    if file is None:
        raise InputError("no FILE", "a file to look through, or --new-key FILE", "`metier protect --help`")
    check_names(context.args, [name for parameter in context.command.params for name in parameter.opts])
    settings = load(project, context.args).prepare.protect if (project / FILE).is_file() else ProtectSettings()
    if reveal:
        text, count = reading.revealed(file, settings, folder=project, store=project / STORE)
        put_json({"text": text, "led_back": count}) if json else typer.echo(text, nl=False)
        return
    found = reading.look(file, settings, folder=project)
    put_page(page_of(reading.report(file, found)), {"found": found.facts()}, as_json=json)
    if found.values:
        raise typer.Exit(1)
