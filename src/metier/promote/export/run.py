"""Export: a run in, a folder for another server out; loaded by that server, compared, and only then published."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metier.core import artefact, extras
from metier.core.errors import InputError, ParityError
from metier.core.progress import Progress
from metier.model.find import Base
from metier.model.load import quantisation
from metier.promote.evidence import Evidence
from metier.promote.export import folders, llama, vllm
from metier.promote.export.kinds import Kind
from metier.promote.hops import Hop, derive_limits
from metier.promote.parity import gather, is_rounded
from metier.promote.settings import PromoteSettings

KIND = "export"
FACTS = "export.json"
TRAINED_WITH = "trained-with.json"
"""What the run was a function of: its settings.json without the paths of the machine that it was trained on."""

_MAKERS: dict[Kind, Callable[[Evidence, Path], list[Hop]]] = {
    Kind.peft: folders.adapter,
    Kind.merged: folders.merged,
    Kind.gguf: llama.model,
    Kind.gguf_lora: llama.adapter,
    Kind.ollama: llama.ollama,
    Kind.vllm: vllm.launch,
}
_EXTRAS: dict[Kind, tuple[str, ...]] = {
    Kind.gguf: ("gguf", "llama-cpp"),
    Kind.gguf_lora: ("gguf", "llama-cpp"),
    Kind.ollama: ("gguf", "llama-cpp"),
}


def export(
    run: Path, base: Base, *, kind: Kind, out: Path, settings: PromoteSettings, progress: Progress
) -> tuple[Path, list[Hop]]:
    """Write a run in the form that a server loads, let it be loaded there, and publish it at `out`.

    Args:
        run: a finished training run.
        base: the base it was trained on.
        kind: the form.
        out: the folder to make; an export that stands there is replaced, anything else is left alone.
        settings: limits, and how files are written.
        progress: who listens.

    Returns:
        The folder, and the hops that were proven; export.json in it holds them too.

    Raises:
        ParityError: the target does not load it, or does not answer as the trained model does; nothing was published.
        InputError: what was trained has no such form, or something else stands at `out`.
    """
    if kind is Kind.onnx:
        raise _no_onnx()
    _require_free(out)
    for extra in _EXTRAS.get(kind, ()):
        extras.require(extra)
    artefact.verify(run / "model", "model")
    rounded = quantisation(run / "model") != "none" or is_rounded(run)
    limits = derive_limits(settings, rounded=rounded)
    evidence = gather(run, base, settings, limits=(limits, limits))
    facts = {"kind": kind.value, "run": run.name, "base": _named(base.name), "base_digest": base.digest}
    with progress.task(f"export {kind.value}", 1) as bar, artefact.publish(out, kind=KIND, facts=facts) as folder:
        hops = _MAKERS[kind](evidence, folder)
        broken = next((hop for hop in hops if not hop.ok), None)
        if broken is not None:
            raise ParityError(
                f"export {kind.value}, hop '{broken.name}': {broken.detail}", "the model that was trained",
                "nothing was written; try more bits (promote.gguf), or allow more under promote.rounded",
            )  # fmt: skip
        (folder / FACTS).write_text(_json(facts | {"hops": [asdict(hop) for hop in hops]}), encoding="utf-8")
        (folder / TRAINED_WITH).write_text(_json(_trained_with(run)), encoding="utf-8")
        bar.advance()
    return out, hops


def _trained_with(run: Path) -> dict[str, Any]:
    """Return the settings of a run with names in the place of paths; digests say which base and rows these were."""
    facts = artefact.read_json(run / "settings.json")
    base = {name: _named(value) for name, value in facts["base"].items() if name != "folder"}
    named = facts | {"snapshot": _named(facts["snapshot"]), "base": base}
    for section in (named["plan"].get("text", {}), named["plan"].get("train", {}).get("regularise", {})):
        for setting in {"template", "replay_file"} & section.keys():
            section[setting] = section[setting] and _named(section[setting])
    return named


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _named(path: str) -> str:
    """Return what a path means elsewhere: its last part; a name stays as it is."""
    return Path(path).name if Path(path).is_absolute() else path


def _require_free(out: Path) -> None:
    if not out.exists() or artefact.exists(out, KIND) or (out.is_dir() and not any(out.iterdir())):
        if out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        return
    raise InputError(f"{out}: something else stands there", "a folder that does not exist yet, or an older export")


def _no_onnx() -> InputError:
    return InputError(
        "export onnx: not offered", "one of the other forms",
        "transformers' own exporter (pip install onnx onnxscript onnxruntime; transformers.exporters.OnnxExporter)"
        " takes an export --to merged; it writes one forward pass without the cache that a server needs, and nothing"
        " here could compare it",
    )  # fmt: skip
