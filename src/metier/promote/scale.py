"""A run's model at another scale, as a run of its own: what the frontier recommended, with where it comes from."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from metier.core import artefact, lock
from metier.core.errors import DataError, SettingsError
from metier.core.progress import Progress
from metier.forest.states import label_answers
from metier.model.find import Base
from metier.model.load import device_here, load_base, load_tuned
from metier.model.scale import scaled, write_scaled
from metier.promote import reference
from metier.text import targets

_KIND = "parity-reference"


def name_at(run: str, scale: float) -> str:
    """Return the id of a run at another scale."""
    return f"{run}-x{scale:g}"


def apply(run: Path, base: Base, scale: float, *, progress: Progress) -> Path:
    """Write a run's model at base + scale (tuned − base) beside it, as a finished run that can be proven and evaluated.

    Its reference is what the model in memory answers at that scale, so that `prove` compares the files that were
    written with what the frontier measured, not with themselves.

    Args:
        run: a finished training run.
        base: that it was trained on.
        scale: above 0; 1 is the run itself.
        progress: who listens.

    Returns:
        The folder of the new run, or of the one that is there.

    Raises:
        SettingsError: a scale that makes no other model.
        DataError: the adapter has no scale, or the model has a head.
    """
    if scale <= 0 or scale == 1:
        raise SettingsError(f"scale {scale:g}", "one above 0 that is not 1: 0 is the base, 1 the run as it is")
    source = artefact.verify(run / "model", "model")
    if targets.read(run / "model") is not None:
        raise DataError(f"{run.name}: a model with a head", "one that writes: between two heads nothing was measured")
    target = run.parent / name_at(run.name, scale)
    lineage: dict[str, Any] = {"run": run.name, "model": source.digest, "scale": scale}
    with lock.held(target):
        if _is_whole(target, lineage):
            progress.say(f"scale {scale:g}: {target.name} is there already")
            return target
        settings = artefact.read_json(run / "settings.json")
        seed, precision = settings["plan"]["seed"], settings["plan"]["model"]["save_precision"]
        _record(run, target, base, scale, seed)
        with artefact.publish(target / "model", kind="model", facts={**source.facts, "scaled": lineage}) as folder:
            write_scaled(base, run / "model", folder, scale, seed=seed, precision=precision)
        for name in ("choices.json", "metrics.jsonl"):
            if (run / name).is_file():
                artefact.write_file(target / name, (run / name).read_text(encoding="utf-8"))
        for name in ("settings.json", "summary.json"):
            facts = artefact.read_json(run / name) | {"scaled": lineage}
            artefact.write_file(target / name, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    progress.say(f"scale {scale:g}: {target.name}, made of {run.name}")
    return target


def _is_whole(target: Path, lineage: dict[str, Any]) -> bool:
    """Tell whether the run is there, made of the same model."""
    if not (target / "summary.json").is_file() or not artefact.exists(target / "model", "model"):
        return False
    return artefact.verify(target / "model", "model").facts.get("scaled") == lineage


def _record(run: Path, target: Path, base: Base, scale: float, seed: int) -> None:
    """Publish what the model in memory answers at this scale, on the rows of the run's own reference."""
    known, source = reference.read(run / _KIND), artefact.read(run / _KIND, _KIND)
    tuned = load_tuned(base, run / "model", device=device_here())
    with scaled(tuned, load_base(base, device=device_here(), seed=seed), scale):
        parts = dict(label_answers(tuned, known.sequences))
    answers = torch.cat([parts[place] for place in range(len(known.sequences))]).cpu().contiguous()
    with artefact.publish(target / _KIND, kind=_KIND, facts=source.facts) as folder:
        save_file({"logprobs": answers}, str(folder / "reference.safetensors"))
        (folder / "rows.json").write_text((run / _KIND / "rows.json").read_text(encoding="utf-8"), encoding="utf-8")
