"""Whether a project serves what a rollout names, asked before one is begun from the command line; no torch."""

from pathlib import Path

from metier.core.errors import InputError
from metier.model.find import Base
from metier.serve.catalogue import Catalogue
from metier.serve.database import connect
from metier.serve.rollouts.book import Rollout
from metier.serve.rollouts.registered import is_registered
from metier.serve.tuning.files import Files
from metier.serve.tuning.jobs import Jobs
from metier.text.settings import TextSettings


def named(folder: Path, store: Path, base: Base, text: TextSettings) -> Catalogue:
    """Return the names of what a project serves, those that jobs gave included; the arguments are those of `serve`."""
    catalogue = Catalogue(folder, store, base, text=text, mixable=lambda _: True)  # a name is one either way
    database = connect(store)
    catalogue.names = Jobs(database, store / "jobs", base=base, files=Files(database)).names
    return catalogue


def require_served(catalogue: Catalogue, wanted: Rollout) -> None:
    """Check that both models of a rollout are served, and that its name is not a model's own.

    Raises:
        InputError: a model that nobody serves, whose rollout a server would end at once; or a name that is taken.
        SignatureError: a version that is not as it was signed.
    """
    for name in (wanted.stable, wanted.candidate):
        if catalogue.find(name) is None:
            there = ", ".join(served.name for served in catalogue.all()[:20])
            raise InputError(f"rollout {wanted.alias}: {name} is not served here", f"two of {there}")
    if not is_registered(wanted.alias) and catalogue.find(wanted.alias) is not None:
        raise InputError(f"rollout {wanted.alias}: a model is called so", "another name, which clients will ask for")
