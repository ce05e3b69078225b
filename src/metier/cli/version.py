"""`metier --version`."""

import json

from metier.core.__about__ import __version__


def show_version(*, as_json: bool) -> None:
    """Print the version."""
    print(json.dumps({"version": __version__}) if as_json else f"metier {__version__}")
