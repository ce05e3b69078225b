"""Who else a run was held against, beside its base: kept beside its evaluation, told with it; imports no torch."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metier.core import artefact
from metier.core.report import Table
from metier.evaluate import stored
from metier.evaluate.compare import Concluded
from metier.evaluate.wording import change_with_interval, level_with_interval
from metier.score.metrics import metric_of

FOLDER = KIND = "against"


def entry(name: str, told: Concluded) -> dict[str, Any]:
    """Return what was concluded of an opponent as it is kept; `name` is what the settings call it."""
    return {"name": name, "differing": told.differing, "verdict": told.verdict}


def write(run: Path, found: Sequence[Mapping[str, Any]]) -> Path:
    """Publish the entries of all opponents, for the evaluation that stands there now."""
    evaluation = artefact.read(run / stored.FOLDER, stored.KIND).digest
    with artefact.publish(run / FOLDER, kind=KIND, facts={"evaluation": evaluation}) as folder:
        text = json.dumps({"version": 1, "against": list(found)}, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / "against.json").write_text(text + "\n", encoding="utf-8")
    return run / FOLDER


def read(run: Path) -> list[dict[str, Any]]:
    """Return what was concluded; nothing where nobody was asked, or where the run was evaluated anew since.

    Raises:
        DataError: it was changed since it was written.
    """
    folder = run / FOLDER
    if not artefact.exists(folder, KIND) or not artefact.exists(run / stored.FOLDER, stored.KIND):
        return []
    if artefact.read(folder, KIND).facts["evaluation"] != artefact.read(run / stored.FOLDER, stored.KIND).digest:
        return []
    artefact.verify(folder, KIND)
    return artefact.read_json(folder / "against.json")["against"]


def table(found: Sequence[Mapping[str, Any]], run: str) -> Table | None:
    """Tell every opponent in a line; None: there was none."""
    metrics = ", ".join(sorted({metric_of(entry["verdict"]["name"]).title for entry in found}))
    rows, notes = [], [f"By {metrics}, in pairs as against the base. Row by row: `metier compare OPPONENT {run}`."]
    for entry in found:
        verdict = entry["verdict"]
        name = verdict["name"]
        rows.append((
            entry["name"], verdict["verdict"], change_with_interval(name, verdict["difference"]),
            level_with_interval(name, verdict["base"]), level_with_interval(name, verdict["tuned"]),
            verdict["more_rows"],
        ))  # fmt: skip
        if entry["differing"]:
            notes.append(f"{entry['name']} was asked otherwise ({', '.join(entry['differing'])}): no verdict.")
    if not rows:
        return None
    return Table(
        title="Against others, on the same rows",
        columns=("opponent", "tuned is", "difference", "opponent has", "tuned has", "more rows"),
        rows=tuple(rows),
        note=" ".join(notes),
    )


def behind(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the opponents that are better than the tuned model."""
    return [entry["name"] for entry in found if entry["verdict"]["verdict"] == "worse"]
