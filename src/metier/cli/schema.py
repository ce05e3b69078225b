"""`metier schema`: what may stand in metier.yaml, for editors, and what stands in evaluation.json, for programs."""

from enum import StrEnum
from typing import Annotated

import typer

from metier.cli.options import AsJson


class Of(StrEnum):
    """What a schema describes."""

    metier = "metier.yaml"
    evaluation = "evaluation"


def schema(
    of: Annotated[Of, typer.Option("--of", help="Which file: metier.yaml, or a run's evaluation.json.")] = Of.metier,
    json: AsJson = False,
) -> None:
    """Print the JSON Schema of metier.yaml or of evaluation.json (always JSON); editors complete and check with it."""
    from metier.cli.output import put_json

    if of is Of.evaluation:
        from metier.evaluate.schema import json_schema as of_evaluation

        put_json(of_evaluation())
        return
    from metier.project import json_schema

    put_json(json_schema())
