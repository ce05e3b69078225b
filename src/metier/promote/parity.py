"""The parity certificate: trained = saved = reloaded = merged and onwards, on the user's own rows."""

import dataclasses
import gc
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from metier.core import artefact, registry
from metier.core.errors import DataError, InputError, ModelError, ParityError, RunError
from metier.core.progress import Progress
from metier.core.types import Reasoned
from metier.model.adapter import is_adapter, why_unmergeable
from metier.model.find import Base
from metier.model.head import give_head
from metier.model.load import device_here, load_base, load_folder, load_tuned, quantisation
from metier.model.merge import merge
from metier.promote import onwards, reference
from metier.promote.distance import Distance, measure
from metier.promote.evidence import Evidence
from metier.promote.hops import Hop, Limits, derive_limits, finite, judge, trained_shares
from metier.promote.reference import Reference
from metier.promote.settings import PromoteSettings
from metier.text import targets

_DO = {
    "trained": "train again; what this run recorded is damaged",
    "saved": "train again: delete model/ in the run and run the same command",
    "reloaded": "do not serve this run; check that base and trained weights belong together, then train again",
    "merged": "do not serve merged/; serve the adapter on its base instead",
    "quantised": "do not serve it in so few bits, or allow more under promote.rounded",
    "gguf": "do not serve this file; try more bits (promote.gguf f16), or allow more under promote.rounded",
    "served": "do not serve this run; `metier serve` answers otherwise than what was trained",
}
"""What to do about a breach, by the first word of its hop."""


def prove(run: Path, base: Base, *, settings: PromoteSettings, progress: Progress, project: Path | None = None) -> Path:
    """Prove every hop from the trained model to the merged one and beyond, and publish `parity/` in the run.

    Args:
        run: a finished training run.
        base: the base it was trained on.
        settings: limits, whether to merge, and which hops follow.
        progress: who listens.

    Returns:
        `run / "parity"`, holding parity.json; a full fine-tune has no merged/ because model/ is the plain model.

    Raises:
        ParityError: a hop changed the model; names it. The certificate is published, with the breach in it.
        DataError: the run was not trained to its end.
        MissingExtraError: what a hop needs is not installed.
    """
    artefact.read(run / "model", "model")
    further = onwards.takes(settings)
    limits = _limits(run, settings, progress)
    limits_merged = _limits_merged(run, settings, limits, progress)
    with progress.task("prove", 4 + len(further)) as bar:
        try:
            evidence = gather(run, base, settings, limits=(limits, limits_merged))
            hops = _walk(evidence, further, advance=bar.advance)
        except DataError as error:
            evidence, hops = None, [Hop(name="trained", ok=False, detail=str(error))]
    _publish(run, base, hops, limits, evidence)
    broken = next((hop for hop in hops if not hop.ok), None)
    if broken is not None:
        do = _DO[broken.name.partition(" ")[0]]
        raise ParityError(f"hop '{broken.name}': {broken.detail}", "the model that was trained", do)
    return run / "parity"


def gather(run: Path, base: Base, settings: PromoteSettings, *, limits: tuple[Limits, Limits]) -> Evidence:
    """Read what a run's hops are judged by; `limits`: of the merged hop last, of all others first.

    Raises:
        DataError: what training recorded is missing or damaged.
    """
    known = reference.read(run / "parity-reference")
    return Evidence(
        run=run, base=base, known=known, settings=settings, limits=limits[0], limits_merged=limits[1],
        from_base=_from_base(run, base, known),
    )  # fmt: skip


def _limits(run: Path, settings: PromoteSettings, progress: Progress) -> Limits:
    """Derive the limits and say which were derived, and why."""
    rounded = is_rounded(run)
    limits = derive_limits(settings, rounded=rounded)
    reason = "weights are saved in float32, so only the order of sums differs"
    if rounded:
        reason = "whole weights are saved in bfloat16"
    given = settings.model_dump()
    for name, value in asdict(limits).items():
        if given[name] is None:
            progress.chose(Reasoned(name=f"promote.{name}", value=value, reason=reason))
    return limits


def is_rounded(run: Path) -> bool:
    """Tell whether whole weights were rounded when they were saved."""
    return not _has_adapter(run) and _plan(run)["model"]["save_precision"] == "bfloat16"


def _limits_merged(run: Path, settings: PromoteSettings, limits: Limits, progress: Progress) -> Limits:
    """Derive the limits of the merged model: an adapter of a rounded base is folded into the exact one."""
    if not settings.merge or not _has_adapter(run) or (kind := quantisation(run / "model")) == "none":
        return limits
    merged = derive_limits(settings, rounded=True)
    reason = f"it was trained beside a base in {kind} and is merged into the base in float32"
    progress.chose(Reasoned(name="promote.mean_kl of the merged model", value=merged.mean_kl, reason=reason))
    return merged


def _walk(
    evidence: Evidence, further: list[tuple[str, Callable[[Evidence], Hop]]], *, advance: Callable[[], None]
) -> list[Hop]:
    """Take the hops in order until one breaks; hops behind it are not reached and not listed."""
    run, do_merge = evidence.run, evidence.settings.merge
    hops = [_trained(evidence)]
    takes: list[tuple[str, Callable[[Evidence], Hop]]] = [("saved", _saved), ("reloaded", _reloaded)]
    unmergeable = why_unmergeable(run / "model")
    if do_merge and _has_adapter(run) and not unmergeable:
        takes.append(("merged", _merged))
    elif not _has_adapter(run) or do_merge:
        takes.append(("merged", lambda evidence: _unmerged(hops[-1], unmergeable)))
    for name, take in [*takes, *further]:
        advance()
        try:
            hops.append(take(evidence))
        except (InputError, RunError) as error:
            hops.append(Hop(name=name, ok=False, detail=str(error)))
        gc.collect()  # a whole model went out of use: the next one may need its memory
        if not hops[-1].ok:
            return hops
    advance()
    return hops


def _unmerged(before: Hop, unmergeable: str) -> Hop:
    """Say why there is nothing to merge."""
    detail = "whole weights were trained: model/ is the plain model, nothing to merge"
    if unmergeable:
        detail = f"serve it on its base, it cannot be merged: {unmergeable}"
    return dataclasses.replace(before, name="merged", detail=detail)


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
    if (restored := evidence.run / registry.RESTORED).is_file():
        version = artefact.read_json(restored)["version"]
        detail = f"{known.tokens:,} labels of {len(known.sequences)} rows, as {version} answers them: its run was gone"
    if moved is None:
        detail += "; the base cannot be compared with them"
    elif moved.largest_kl <= evidence.limits.largest_kl:
        detail += f"; training moved the model by {moved.largest_kl:.1e} nats at most, so this proves little"
    right, stops = trained_shares(known)
    return Hop(name="trained", ok=True, right=right, stops=stops, tokens=known.tokens, detail=detail)


def _saved(evidence: Evidence) -> Hop:
    """Check the bytes on disk, that they belong to this base, and that their tokenizer renders what was trained."""
    folder, base = evidence.run / "model", evidence.base
    manifest = artefact.verify(folder, "model")
    if manifest.facts.get("base_digest") != base.digest:
        detail = f"base {base.name} is not the one this run was trained on, or it has changed since"
        return Hop(name="saved", ok=False, detail=detail)
    words = evidence.differently_worded(folder)
    detail = words or f"{len(manifest.files)} files as written; tokens, prompts and stop tokens equal"
    return Hop(name="saved", ok=not words, detail=detail)


def _reloaded(evidence: Evidence) -> Hop:
    """Load what was saved as a server would, on the base."""
    model = load_tuned(evidence.base, evidence.run / "model")
    return judge("reloaded", model, evidence.known, limits=evidence.limits, from_base=evidence.from_base)


def _merged(evidence: Evidence) -> Hop:
    """Fold the adapter into its base, and judge the plain model from its own folder alone.

    What was trained beside a quantised base is folded into the original one and into the one that it saw; the closer
    stays in merged/.
    """
    out, kind = evidence.run / "merged", quantisation(evidence.run / "model")
    hop = _judge_merged(
        evidence, merge(evidence.base, evidence.run / "model", out, shard_gb=evidence.settings.shard_gb)
    )
    if kind == "none" or hop.mean_kl is None:
        return hop
    other = evidence.run / "merged-dequantised"
    try:
        merge(evidence.base, evidence.run / "model", other, dequantised=True, shard_gb=evidence.settings.shard_gb)
        seen = _judge_merged(evidence, other)
    except ModelError as error:
        return dataclasses.replace(hop, detail=f"{hop.detail}; not into the base in {kind}: {error}")
    is_closer = seen.mean_kl is not None and seen.mean_kl < hop.mean_kl
    if is_closer:
        artefact.remove(out)
        other.rename(out)
    artefact.remove(other)
    kept = seen if is_closer else hop
    gap = (
        f"mean KL into the original base {hop.mean_kl:.2e}, into the base as it was in {kind} {seen.mean_kl:.2e} nats;"
        f" kept: {'the base in ' + kind if is_closer else 'the original base'}"
    )
    return dataclasses.replace(kept, detail=f"{kept.detail}; {gap}")


def _judge_merged(evidence: Evidence, folder: Path) -> Hop:
    artefact.verify(folder, "model")
    if words := evidence.differently_worded(folder):
        return Hop(name="merged", ok=False, detail=words)
    limits, moved = evidence.limits_merged, evidence.from_base
    return judge("merged", _ready(load_folder(folder)), evidence.known, limits=limits, from_base=moved)


def _ready(model: torch.nn.Module) -> torch.nn.Module:
    return model.eval().to(device_here())


def _publish(run: Path, base: Base, hops: list[Hop], limits: Limits, evidence: Evidence | None) -> None:
    moved = evidence.from_base if evidence is not None else None
    content = {
        "holds": all(hop.ok for hop in hops),
        "base": base.name,
        "model": artefact.read(run / "model", "model").digest,
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
    return artefact.read_json(run / "settings.json")["plan"]
