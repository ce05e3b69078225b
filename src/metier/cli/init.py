"""`metier init NAME`: a folder with the example project in it."""

from pathlib import Path
from typing import Annotated

import typer

from metier.cli.options import AsJson


def init(
    name: Annotated[Path, typer.Argument(metavar="NAME", help="The folder to make.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Take over a configuration of Axolotl or LLaMA-Factory (YAML)."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Make a folder with an example project, or with what another trainer's configuration says."""
    from metier.cli.output import out, put_json
    from metier.cli.scaffold import scaffold

    if source is not None:
        _adopted(source, name, as_json=json)
        return
    folder = scaffold(name)
    steps = (f"cd {name}", "metier run")
    if json:
        put_json({"project": str(folder), "next": steps})
        return
    console = out()
    console.print(f"[green]✓[/] {name} holds metier.yaml, data/ and a README", markup=True)
    console.print("\nNext:")
    for step in steps:
        console.print(f"  {step}", style="bold", markup=False)
    console.print("\nThen put your own file into data/ and name it in metier.yaml.", style="dim")


def _adopted(source: Path, name: Path, *, as_json: bool) -> None:
    """Make the project and print what was carried over, what was not, and why."""
    from metier.cli.adopt.project import adopt
    from metier.cli.output import out, put_json

    found = adopt(source, name)
    if as_json:
        carried = [{"theirs": theirs, "ours": ours, "value": value} for theirs, ours, value in found.carried]
        left = [{"theirs": theirs, "why": why} for theirs, why in found.left]
        put_json({"project": str(name), "carried": carried, "left": left})
        return
    console = out()
    console.print(f"[green]✓[/] {name}/metier.yaml holds what {source.name} says", markup=True)
    console.print("\nCarried over:")
    for theirs, ours, value in found.carried:
        console.print(f"  {theirs} → {ours}: {value}", markup=False, highlight=False)
    if found.left:
        console.print("\nNot carried over:")
    for theirs, why in found.left:
        console.print(f"  {theirs}: {why or 'not needed'}", style="dim", markup=False, highlight=False)
    console.print(f"\nNext:\n  cd {name}\n  metier prepare", style="bold", markup=False)
