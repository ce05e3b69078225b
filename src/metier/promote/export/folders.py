"""Exports that transformers and PEFT load: the adapter as it is, or one plain model."""

import shutil
from pathlib import Path

import torch
from peft import PeftModel

from metier.core import artefact
from metier.core.errors import InputError
from metier.model.adapter import ADAPTER_CONFIG, is_adapter, why_unmergeable
from metier.model.find import Base
from metier.model.head import give_head
from metier.model.load import device_here, load_base, load_folder, quantisation
from metier.model.merge import merge
from metier.model.quantise.freeze import quantise
from metier.model.quiet import LIBRARY_FAULTS, quiet
from metier.promote.evidence import Evidence
from metier.promote.hops import Hop, judge
from metier.text import targets


def adapter(evidence: Evidence, folder: Path) -> list[Hop]:
    """Copy the adapter, and judge it as PEFT itself loads it.

    Raises:
        InputError: whole weights or modules of our own were trained.
    """
    model = evidence.run / "model"
    if not (model / ADAPTER_CONFIG).is_file():
        what = "bottleneck modules, which are not PEFT's" if is_adapter(model) else "whole weights"
        raise InputError(f"{evidence.run.name}: {what}", "an adapter in PEFT's format", "export it --to merged")
    copy(model, folder)
    return [_loaded_by_peft(evidence, folder)]


def merged(evidence: Evidence, folder: Path) -> list[Hop]:
    """Write one plain model, and judge it as transformers loads it from this folder alone."""
    plain(evidence, folder)
    return [_loaded_by_transformers(evidence, folder)]


def plain(evidence: Evidence, folder: Path) -> None:
    """Write the plain model of a run into a folder.

    Raises:
        InputError: what was trained is in no weight of the base.
    """
    model = evidence.run / "model"
    if reason := why_unmergeable(model):
        raise InputError(f"{evidence.run.name}: cannot be merged: {reason}", "", "export it --to peft")
    known = evidence.run / "merged"
    if is_adapter(model) and artefact.exists(known, "model"):
        artefact.verify(known, "model")  # that of the certificate: the closer one where there were two
        copy(known, folder)
        return
    inner = folder / "whole"
    merge(evidence.base, model, inner, shard_gb=evidence.settings.shard_gb)
    copy(inner, folder)
    shutil.rmtree(inner)


def copy(source: Path, folder: Path) -> None:
    """Copy what a model folder holds, without its manifest."""
    for path in source.iterdir():
        if path.is_file() and path.name != artefact.MANIFEST:
            shutil.copyfile(path, folder / path.name)


def _loaded_by_peft(evidence: Evidence, folder: Path) -> Hop:
    base, head = evidence.base, targets.read(folder)
    whole = load_base(base, device=torch.device("cpu"))
    try:
        with quiet():
            model = PeftModel.from_pretrained(whole if head is None else give_head(whole, head), str(folder))
    except LIBRARY_FAULTS as error:
        return Hop(name="peft", ok=False, detail=f"PEFT does not load it: {error}")
    return _judged(evidence, folder, "peft", _ready(model, base, evidence.run))


def _ready(model: torch.nn.Module, base: Base, run: Path) -> torch.nn.Module:
    """Put a loaded adapter beside the base that it was trained beside."""
    return quantise(model, quantisation(run / "model"), device_here()).eval()


def _loaded_by_transformers(evidence: Evidence, folder: Path) -> Hop:
    model: torch.nn.Module = load_folder(folder).eval()
    return _judged(evidence, folder, "transformers", model.to(device_here()))


def _judged(evidence: Evidence, folder: Path, name: str, model: torch.nn.Module) -> Hop:
    try:
        if words := evidence.differently_worded(folder):
            return Hop(name=name, ok=False, detail=words)
        return judge(name, model, evidence.known, limits=evidence.limits, from_base=evidence.from_base)
    except InputError as error:
        return Hop(name=name, ok=False, detail=str(error))
