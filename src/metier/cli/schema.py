"""`metier schema`: what may stand in metier.yaml, for editors."""

from metier.cli.options import AsJson


def schema(json: AsJson = False) -> None:
    """Print the JSON Schema of metier.yaml (always JSON); editors complete and check with it."""
    from metier.cli.output import put_json
    from metier.project import json_schema

    put_json(json_schema())
