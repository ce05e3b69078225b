"""The hops behind the merged model: in fewer bits, in llama.cpp, and served over HTTP by ourselves."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from metier.core import artefact, extras
from metier.core.errors import InputError, RunError
from metier.model.adapter import is_adapter, why_unmergeable
from metier.model.load import device_here, load_folder
from metier.model.quantise.freeze import Quantisation, quantise
from metier.promote.evidence import Evidence
from metier.promote.export.gguf.model import write_model
from metier.promote.far.heads import judge_head
from metier.promote.far.judge import judge_far
from metier.promote.far.llama import EXTRA, serving
from metier.promote.far.own import serving_own
from metier.promote.far.sample import conversations
from metier.promote.hops import Hop, judge, rounded_limits
from metier.promote.settings import PromoteSettings

_ROOM = 64
"""Tokens of context beside the longest reference row."""

Take = Callable[[Evidence], Hop]


def takes(settings: PromoteSettings) -> list[tuple[str, Take]]:
    """Return the hops that settings ask for, by name.

    Raises:
        MissingExtraError: something that they need is not installed.
        InputError: the plain model that is to be quantised is not made.
    """
    named: dict[str, tuple[str, Take]] = {
        "int8": ("quantised int8", lambda evidence: _in_fewer_bits(evidence, "int8")),
        "nf4": ("quantised nf4", lambda evidence: _in_fewer_bits(evidence, "nf4")),
        "gguf": (f"gguf {settings.gguf}", _in_llama),
    }
    needed = {"nf4": ("qlora",), "gguf": ("gguf", EXTRA)}
    for kind in settings.quantised:
        for extra in needed.get(kind, ()):
            extras.require(extra)
    chosen = [named[kind] for kind in dict.fromkeys(settings.quantised)]
    if settings.served:
        extras.require("serve")
        chosen.append(("served", _served))
    return chosen


def plain_folder(evidence: Evidence) -> Path:
    """Return where the plain model is: the merged one, or what was trained whole.

    Raises:
        InputError: it was not merged, or cannot be.
    """
    model, merged = evidence.run / "model", evidence.run / "merged"
    if not is_adapter(model):
        return model
    if not artefact.exists(merged, "model"):
        reason = why_unmergeable(model)
        raise InputError(
            "promote.quantised: there is no merged model to quantise", "promote.merge true",
            f"leave promote.quantised out: {reason}" if reason else "",
        )  # fmt: skip
    return merged


def _in_fewer_bits(evidence: Evidence, kind: Quantisation) -> Hop:
    """Round the plain model's weights as a server of ours would, and judge it."""
    model = load_folder(plain_folder(evidence)).eval().requires_grad_(False)
    rounded: torch.nn.Module = quantise(model, kind, device_here())
    limits = rounded_limits(evidence.settings, kind)
    return judge(f"quantised {kind}", rounded, evidence.known, limits=limits, from_base=evidence.from_base)


def _in_llama(evidence: Evidence) -> Hop:
    """Write the plain model as a GGUF file, and let llama.cpp answer with it."""
    source, precision = plain_folder(evidence), evidence.settings.gguf
    with tempfile.TemporaryDirectory(dir=evidence.run) as folder:
        path = Path(folder) / "model.gguf"
        write_model(source, path, precision=precision, name=evidence.run.name)
        return in_llama(evidence, path, f"gguf {precision}")


def in_llama(evidence: Evidence, model: Path, name: str, adapter: Path | None = None) -> Hop:
    """Let llama.cpp load a GGUF file, with an adapter where one is given, and judge its answers."""
    talks = conversations(evidence.run / "model", evidence.words(), evidence.known)
    limits = rounded_limits(evidence.settings, evidence.settings.gguf)
    context = max(len(sequence.ids) for sequence in evidence.known.sequences) + _ROOM
    try:
        with serving(model, adapter, context=context) as far:
            return judge_far(name, far, evidence.known, talks, limits=limits, from_base=evidence.from_base)
    except RunError as error:
        return Hop(name=name, ok=False, detail=f"llama.cpp does not answer with it: {error}")


def _served(evidence: Evidence) -> Hop:
    """Start our server as a user would, and judge what it answers over HTTP."""
    words, limits = evidence.words(), rounded_limits(evidence.settings, "f32")
    with serving_own(evidence.run, evidence.base) as far:
        if words.headed:
            return judge_head(evidence, far, words, limits)
        talks = conversations(evidence.run / "model", words, evidence.known)
        return judge_far("served", far, evidence.known, talks, limits=limits, from_base=evidence.from_base)
