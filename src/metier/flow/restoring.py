"""From a version back to the run it was made of: what is found out later is written there, never into a version."""

import json
import shutil
from pathlib import Path
from typing import Any

from metier.core import artefact, extras, lock, registry
from metier.core.errors import InputError
from metier.model.find import Base
from metier.project import Place
from metier.promote.registry import evidence
from metier.train.plan import TrainingPlan

_WORK = "restoring"


def run_behind(place: Place, reference: str, version: Path) -> Path | None:
    """Return the run that a version was made of, or that was restored from it; None where neither is there."""
    facts = _facts(version)
    return next((run for run in _candidates(place, facts) if _is_it(run, facts)), None)


def restore(place: Place, reference: str, version: Path, base: Base, plan: TrainingPlan) -> Path:
    """Lay a run out again as its version has kept it, all but checkpoints.

    What the trained model answered before it was saved is gone with the run: what the signed model answers takes its
    place, and `restored.json` says so. The run appears whole or not at all.

    Args:
        place: the project.
        reference: how the version is called.
        version: its folder, checked by whoever found it.
        base: that it was trained on.
        plan: that it was trained with.

    Raises:
        InputError: the rows that it was trained with are gone, too.
    """
    extras.require("train")
    from metier.model.load import load_tuned
    from metier.train.finish import record
    from metier.train.material import gather

    facts = _facts(version)
    snapshot = _snapshot(place, reference, version)
    target = next(run for run in _candidates(place, facts) if not run.exists())
    with lock.held(place.store / _WORK, wait=True):
        if (found := run_behind(place, reference, version)) is not None:
            return found
        work = place.store / _WORK / target.name
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        place.progress.say(f"{reference}: run {facts['run']} is gone; restored as {target.name} from the version")
        evidence.copy_run(version, work, list(facts["parts"]))
        settings = artefact.read_json(work / "settings.json")
        artefact.write_file(work / "settings.json", json.dumps(settings | {"snapshot": str(snapshot)}, indent=1) + "\n")
        material = gather(snapshot, base, work, plan, place.progress)
        record(work, load_tuned(base, work / "model"), material)
        artefact.write_file(work / registry.RESTORED, json.dumps({"version": reference}) + "\n")
        target.parent.mkdir(parents=True, exist_ok=True)
        work.rename(target)
    return target


def _candidates(place: Place, facts: dict[str, Any]) -> tuple[Path, Path]:
    """Return where the run may be: under its own name, or beside another that was trained under that name since."""
    return place.runs / facts["run"], place.runs / f"{facts['run']}-v{facts['number']}"


def _is_it(run: Path, facts: dict[str, Any]) -> bool:
    return artefact.exists(run / "model", "model") and artefact.read(run / "model").digest == facts["model"]


def _snapshot(place: Place, reference: str, version: Path) -> Path:
    named = Path(artefact.read_json(version / "settings.json")["snapshot"]).name
    path = place.store / "snapshots" / named
    if not artefact.exists(path, "snapshot"):
        raise InputError(
            f"{reference}: its run is gone, and so is the snapshot {named} that it was trained with",
            "rows to compare it on", "put that folder back, or run `metier prepare` on the same files and settings",
        )  # fmt: skip
    return path


def _facts(version: Path) -> dict[str, Any]:
    return artefact.read_json(version / registry.FACTS)
