"""Whether two models can answer for one another: both write, or both have a head of one kind; imports no torch."""

import re
from pathlib import Path

import sqlalchemy as sql

from metier.core import registry
from metier.core.errors import InputError
from metier.serve.tables import JOBS
from metier.text import targets

_RUN = re.compile(r"[a-z0-9][a-z0-9._-]{0,80}")
_WRITES = "writes"


def require_alike(database: sql.Engine, store: Path, models: tuple[str, str]) -> None:
    """Check that what can be asked of one model can be asked of the other.

    Args:
        database: in which jobs are, whose runs have names of their own.
        store: the project's `.metier`.
        models: what serves now, and the candidate. A name that is not known here is taken for a base's.

    Raises:
        InputError: one writes and the other has a head of classes, or their heads are of two kinds.
    """
    stable, candidate = (_kind(database, store, name) for name in models)
    if stable != candidate:
        told = " and ".join(f"{name} {_said(kind)}" for name, kind in zip(models, (stable, candidate), strict=True))
        raise InputError(
            f"rollout: {told}, so whoever is answered by the other could not ask what they ask now",
            "two models that write, or two with heads of one kind",
            "compare them by `metier evaluate`, then let clients ask the other by its own name",
        )


def _kind(database: sql.Engine, store: Path, name: str) -> str:
    folder = _folder(database, store, name)
    head = targets.read(folder / "model") if folder is not None else None
    return head.kind if head is not None else _WRITES


def _said(kind: str) -> str:
    return "writes text" if kind == _WRITES else f"has a head ({kind}) and writes none"


def _folder(database: sql.Engine, store: Path, name: str) -> Path | None:
    """Return the folder of a version, of what a job gave a name to, or of a run."""
    if "@" in name:
        return registry.find(store, name).path
    named = sql.select(JOBS.c.run).where(JOBS.c.model == name, JOBS.c.status == "succeeded")
    with database.connect() as connection:
        run = connection.execute(named).scalar()
    if run:
        return Path(run)
    return store / "runs" / name if _RUN.fullmatch(name) else None
