"""The evidence of a version as plain files that anybody can read: data, rows, decisions, environment, curves.

What the stages of the run left (evaluation with every answer, parity, report) is copied as it is.
"""

import importlib.metadata
import json
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metier.core import artefact
from metier.core.__about__ import __version__
from metier.text.rows import snapshot_behind

PARTS = ("model", "evaluation", "parity", "report")
"""Folders of a run that a version keeps, beside those in `exports/`."""

EXPORTS = "exports"
_FILES = ("settings.json", "choices.json", "summary.json", "metrics.jsonl")
_SPLITS = ("train", "validation", "test")
_OF_A_ROW = ("id", "source", "group", "slice", "time", "synthetic")
_NOTICES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")


def parts(run: Path) -> dict[str, artefact.Manifest]:
    """Return what a run holds that belongs into a version, by its place in the run.

    Raises:
        DataError: a part of it was changed since it was written.
    """
    exported = sorted(path.name for path in (run / EXPORTS).iterdir()) if (run / EXPORTS).is_dir() else []
    names = [*PARTS, *(f"{EXPORTS}/{name}" for name in exported)]
    return {name: artefact.verify(run / name) for name in names if artefact.exists(run / name)}


def copy_run(run: Path, folder: Path, names: list[str]) -> None:
    """Copy parts of a run and its loose files into a folder, laid out as they were."""
    for name in names:
        shutil.copytree(run / name, folder / name, copy_function=shutil.copyfile)
    for name in _FILES:
        if (run / name).is_file():
            shutil.copyfile(run / name, folder / name)


def write(folder: Path, *, snapshot: Path, base: Path, project: Path) -> None:
    """Write `evidence/` and `licences/`.

    Args:
        folder: of the version.
        snapshot: the rows that the run was trained and judged with.
        base: the base's folder, for its notices.
        project: the file metier.yaml.

    Raises:
        DataError: the snapshot is gone or was changed.
    """
    place = folder / "evidence"
    place.mkdir()
    manifest = artefact.verify(snapshot, "snapshot")
    _write_json(place / "data.json", {"snapshot": manifest.digest, **manifest.facts})
    with (place / "rows.jsonl").open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(snapshot))
    for name in ("decisions.jsonl", "dropped.jsonl"):
        if (snapshot / name).is_file():
            shutil.copyfile(snapshot / name, place / name)
    _write_json(place / "environment.json", environment())
    shutil.copyfile(project, place / project.name)
    notices = sorted({path for pattern in _NOTICES for path in base.glob(pattern) if path.is_file()})
    if notices:
        (folder / "licences").mkdir()
        for path in notices:
            shutil.copyfile(path, folder / "licences" / path.name)


def environment() -> dict[str, Any]:
    """Return what this was promoted with: the machine, Python and every installed package with its version."""
    found = {}
    for package in importlib.metadata.distributions():
        name = package.metadata["Name"]
        if name:
            found[name.lower()] = package.version
    return {
        "metier": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": dict(sorted(found.items())),
    }


def _rows(snapshot: Path) -> Iterator[dict[str, Any]]:
    """Yield every row's id, source and split, without what is in it."""
    for split in _SPLITS:
        with (snapshot / f"{split}.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                yield {"split": split} | {name: row[name] for name in _OF_A_ROW if row.get(name) is not None}


def snapshot_of(run: Path) -> Path:
    """Return the snapshot that a run was trained with.

    Raises:
        DataError: the run does not say, or the snapshot is gone.
    """
    path = snapshot_behind(run)
    artefact.read(path, "snapshot")
    return path


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
