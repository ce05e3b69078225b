"""`metier versions`, `diff`, `card` and `verify-version`: what was promoted, and what can be known of it."""

from pathlib import Path
from typing import Annotated

import typer

from metier.cli.options import HERE, AsJson, ProjectFolder

_VERSION = "A version: `NAME@7` or `NAME@production`."
SHELVES = Path(".metier") / "versions"


def known_versions(incomplete: str) -> list[str]:
    """Return what the shell may complete: the versions of the project in this folder."""
    found = (f"{path.parent.name}@{path.name}" for path in sorted(SHELVES.glob("*/[1-9]*")))
    return [name for name in found if name.startswith(incomplete)]


Named = Annotated[str, typer.Argument(metavar="VERSION", help=_VERSION, autocompletion=known_versions)]


def versions(project: ProjectFolder = HERE, json: AsJson = False) -> None:
    """List the versions of the project, what the aliases mean and how they have moved."""
    from metier.cli.output import put_page
    from metier.project import STORE, load
    from metier.promote.registry import told
    from metier.report.page import page_of

    load(project)
    put_page(page_of(told.listing(project / STORE)), {}, as_json=json)


def diff(
    first: Annotated[str, typer.Argument(metavar="A", help=_VERSION, autocompletion=known_versions)],
    second: Annotated[str, typer.Argument(metavar="B", help=_VERSION, autocompletion=known_versions)],
    project: ProjectFolder = HERE,
    json: AsJson = False,
) -> None:
    """Tell what two versions differ in: data, settings, base, packages, results."""
    from metier.cli.output import put_page
    from metier.core.registry import open_version
    from metier.project import STORE, load
    from metier.promote.registry import told
    from metier.report.page import page_of

    load(project)
    one, other = (open_version(project / STORE, name) for name in (first, second))
    put_page(page_of(told.difference(one, other)), {"first": one.reference, "second": other.reference}, as_json=json)


def card(version: Named, project: ProjectFolder = HERE, json: AsJson = False) -> None:
    """Print the model card of a version (its README.md, as the Hugging Face hub reads it)."""
    from metier.cli.output import put_json
    from metier.core.registry import open_version
    from metier.project import STORE, load

    load(project)
    found = open_version(project / STORE, version)
    text = (found.path / "README.md").read_text(encoding="utf-8")
    if json:
        put_json({"version": found.reference, "card": text})
    else:
        typer.echo(text)


def verify_version(version: Named, project: ProjectFolder = HERE, json: AsJson = False) -> None:
    """Check every byte of a version against its signature; exits 1 and names what is not as it was signed."""
    from metier.cli.output import put_page
    from metier.core.registry import checked, find
    from metier.project import STORE, load
    from metier.promote.registry import told
    from metier.report.page import page_of

    load(project)
    found = find(project / STORE, version)
    report = told.verified(found, checked(found, project / STORE))
    put_page(page_of(report), {"version": found.reference, "holds": True}, as_json=json)
