"""`metier init NAME`: a folder with the example project in it."""

from pathlib import Path
from typing import Annotated

import typer

from metier.cli.options import AsJson


def init(
    name: Annotated[Path, typer.Argument(metavar="NAME", help="The folder to make.")],
    json: AsJson = False,
) -> None:
    """Make a folder with an example project, ready for `metier run`."""
    from metier.cli.output import out, put_json
    from metier.cli.scaffold import scaffold

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
