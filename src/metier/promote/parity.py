"""The parity certificate: trained = saved = reloaded = merged, on the user's own rows; a breach names its hop."""

import dataclasses
import gc
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from metier.core import artefact
from metier.core.errors import DataError, InputError, ModelError, ParityError
from metier.core.progress import Progress
from metier.core.types import Reasoned
from metier.model.adapter import is_adapter, why_unmergeable
from metier.model.find import Base
from metier.model.head import give_head
from metier.model.load import device_here, load_base, load_folder, load_tuned, quantisation
from metier.model.merge import merge
from metier.promote import reference, wording
from metier.promote.distance import Distance, measure
from metier.promote.hops import Hop, Limits, derive_limits, finite, judge
from metier.promote.reference import Reference
from metier.promote.settings import PromoteSettings
from metier.text import targets

_DO = {
    "trained": "train again; what this run recorded is damaged",
    "saved": "train again: delete model/ in the run and run the same command",
    "reloaded": "do not serve this run; check that base and trained weights belong together, then train again",
    "merged": "do not serve merged/; serve the adapter on its base instead",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What every hop is judged by. `from_base`: how far the trained model is from its base, None if not measurable."""

    run: Path
    base: Base
    known: Reference
    limits: Limits
    limits_merged: Limits
    from_base: Distance | None


def prove(run: Path, base: Base, *, settings: PromoteSettings, progress: Progress) -> Path:
    """Prove every hop from the trained model to the merged one, and publish `parity/` in the run.

    Args:
        run: a finished training run.
        base: the base it was trained on.
        settings: limits, and whether to merge.
        progress: who listens.

    Returns:
        `run / "parity"`, holding parity.json; a full fine-tune has no merged/ because model/ is the plain model.

    Raises:
        ParityError: a hop changed the model; names it. The certificate is published, with the breach in it.
        DataError: the run was not trained to its end.
    """
    artefact.read(run / "model", "model")
    limits = _limits(run, settings, progress)
    with progress.task("prove", 4) as bar:
        limits_merged = _limits_merged(run, settings, limits, progress)
        hops, evidence = _walk(run, base, (limits, limits_merged), do_merge=settings.merge, advance=bar.advance)
    _publish(run, base, hops, limits, evidence)
    broken = next((hop for hop in hops if not hop.ok), None)
    if broken is not None:
        raise ParityError(f"hop '{broken.name}': {broken.detail}", "the model that was trained", _DO[broken.name])
    return run / "parity"


def _limits(run: Path, settings: PromoteSettings, progress: Progress) -> Limits:
    """Derive the limits and say which were derived, and why."""
    rounded = not _has_adapter(run) and _plan(run)["model"]["save_precision"] == "bfloat16"
    limits = derive_limits(settings, rounded=rounded)
    reason = "weights are saved in float32, so only the order of sums differs"
    if rounded:
        reason = "whole weights are saved in bfloat16"
    given = settings.model_dump()
    for name, value in asdict(limits).items():
        if given[name] is None:
            progress.chose(Reasoned(name=f"promote.{name}", value=value, reason=reason))
    return limits


def _limits_merged(run: Path, settings: PromoteSettings, limits: Limits, progress: Progress) -> Limits:
    """Derive the limits of the merged model: an adapter of a rounded base is folded into the exact one."""
    if not settings.merge or not _has_adapter(run) or (kind := quantisation(run / "model")) == "none":
        return limits
    merged = derive_limits(settings, rounded=True)
    reason = f"it was trained beside a base in {kind} and is merged into the base in float32"
    progress.chose(Reasoned(name="promote.mean_kl of the merged model", value=merged.mean_kl, reason=reason))
    return merged


def _walk(
    run: Path, base: Base, limits: tuple[Limits, Limits], *, do_merge: bool, advance: Callable[[], None]
) -> tuple[list[Hop], Evidence | None]:
    """Take the hops in order until one breaks; hops behind it are not reached and not listed.

    `limits` are those of the merged hop last, of all others first.
    """
    try:
        known = reference.read(run / "parity-reference")
    except DataError as error:
        return [Hop(name="trained", ok=False, detail=str(error))], None
    moved = _from_base(run, base, known)
    evidence = Evidence(run=run, base=base, known=known, limits=limits[0], limits_merged=limits[1], from_base=moved)
    hops = [_trained(evidence)]
    takes: list[tuple[str, Callable[[Evidence], Hop]]] = [("saved", _saved), ("reloaded", _reloaded)]
    unmergeable = why_unmergeable(run / "model")
    if do_merge and _has_adapter(run) and not unmergeable:
        takes.append(("merged", _merged))
    for name, take in takes:
        advance()
        try:
            hops.append(take(evidence))
        except InputError as error:
            hops.append(Hop(name=name, ok=False, detail=str(error)))
        gc.collect()  # a whole model went out of use: the next one may need its memory
        if not hops[-1].ok:
            return hops, evidence
    if not _has_adapter(run) or (do_merge and unmergeable):
        detail = "whole weights were trained: model/ is the plain model, nothing to merge"
        if unmergeable:
            detail = f"serve it on its base, it cannot be merged: {unmergeable}"
        hops.append(dataclasses.replace(hops[-1], name="merged", detail=detail))
    advance()
    return hops, evidence


def _from_base(run: Path, base: Base, known: Reference) -> Distance | None:
    """Measure how far training moved the model: what a hop that silently lost the training would show."""
    try:
        model, head = load_base(base, seed=_plan(run)["seed"]), targets.read(run / "model")
        return measure(model if head is None else give_head(model, head), known)
    except ModelError:
        return None


def _trained(evidence: Evidence) -> Hop:
    known, moved = evidence.known, evidence.from_base
    detail = f"{known.tokens:,} labels of {len(known.sequences)} rows recorded before saving"
    if moved is None:
        detail += "; the base cannot be compared with them"
    elif moved.largest_kl <= evidence.limits.largest_kl:
        detail += f"; training moved the model by {moved.largest_kl:.1e} nats at most, so this proves little"
    return Hop(name="trained", ok=True, tokens=known.tokens, detail=detail)


def _saved(evidence: Evidence) -> Hop:
    """Check the bytes on disk, that they belong to this base, and that their tokenizer renders what was trained."""
    folder, base = evidence.run / "model", evidence.base
    manifest = artefact.verify(folder, "model")
    if manifest.facts.get("base_digest") != base.digest:
        detail = f"base {base.name} is not the one this run was trained on, or it has changed since"
        return Hop(name="saved", ok=False, detail=detail)
    words = _wording(evidence, folder)
    detail = words or f"{len(manifest.files)} files as written; tokens, prompts and stop tokens equal"
    return Hop(name="saved", ok=not words, detail=detail)


def _reloaded(evidence: Evidence) -> Hop:
    """Load what was saved as a server would, on the base."""
    model = load_tuned(evidence.base, evidence.run / "model")
    return judge("reloaded", model, evidence.known, limits=evidence.limits, from_base=evidence.from_base)


def _merged(evidence: Evidence) -> Hop:
    """Fold the adapter into its base, and judge the plain model from its own folder alone."""
    folder = merge(evidence.base, evidence.run / "model", evidence.run / "merged")
    artefact.verify(folder, "model")
    if words := _wording(evidence, folder):
        return Hop(name="merged", ok=False, detail=words)
    limits, moved = evidence.limits_merged, evidence.from_base
    return judge("merged", _ready(load_folder(folder)), evidence.known, limits=limits, from_base=moved)


def _ready(model: torch.nn.Module) -> torch.nn.Module:
    return model.eval().to(device_here())


def _wording(evidence: Evidence, folder: Path) -> str:
    """Say what a model folder renders otherwise than training did, or ""."""
    trained = wording.read(evidence.run, evidence.base.folder, evidence.known)
    return wording.difference(folder, trained, evidence.known)


def _publish(run: Path, base: Base, hops: list[Hop], limits: Limits, evidence: Evidence | None) -> None:
    moved = evidence.from_base if evidence is not None else None
    content = {
        "holds": all(hop.ok for hop in hops),
        "base": base.name,
        "hops": [asdict(hop) for hop in hops],
        "limits": asdict(limits),
        "from_base": None if moved is None else _figures(moved),
        "device": device_here().type,
    }
    with artefact.publish(run / "parity", kind="parity", facts={"holds": content["holds"]}) as folder:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / "parity.json").write_text(text + "\n", encoding="utf-8")


def _figures(distance: Distance) -> dict[str, Any]:
    return {name: finite(value) if isinstance(value, float) else value for name, value in asdict(distance).items()}


def _has_adapter(run: Path) -> bool:
    return is_adapter(run / "model")


def _plan(run: Path) -> dict[str, Any]:
    return json.loads((run / "settings.json").read_text(encoding="utf-8"))["plan"]
