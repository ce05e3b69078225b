"""The options that several commands share; imports nothing heavy, for `--help` must answer at once."""

from pathlib import Path
from typing import Annotated

import typer

LAID_OVER = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Context settings of commands that take `--section.name value` for any setting of metier.yaml."""

SETTINGS_HELP = "Any setting of metier.yaml can be given here too, e.g. --train.learning-rate 2e-4."

ProjectFolder = Annotated[
    Path,
    typer.Option("--project", "-p", metavar="DIR", help="The project's folder, where metier.yaml stands."),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json", metavar="", help="Print one JSON document and nothing else, for programs rather than people."
    ),
]
RunId = Annotated[
    str | None,
    typer.Option(
        "--run", metavar="RUN", help="A run's id or the beginning of it; left out: the run of these settings."
    ),
]
HERE = Path()
