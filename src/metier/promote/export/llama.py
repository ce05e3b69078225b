"""Exports that llama.cpp loads, and Ollama through it."""

import tempfile
from pathlib import Path

from metier.core.errors import InputError
from metier.model.adapter import ADAPTER_CONFIG
from metier.promote.evidence import Evidence
from metier.promote.export import folders, modelfile
from metier.promote.export.gguf.lora import write_adapter
from metier.promote.export.gguf.model import write_model
from metier.promote.hops import Hop
from metier.promote.onwards import in_llama

MODEL, ADAPTER = "model.gguf", "adapter.gguf"


def model(evidence: Evidence, folder: Path) -> list[Hop]:
    """Write the plain model as one GGUF file, and judge it as llama.cpp loads it."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        folders.plain(evidence, Path(beside))
        write_model(Path(beside), folder / MODEL, precision=evidence.settings.gguf, name=evidence.run.name)
    return [in_llama(evidence, folder / MODEL, f"gguf {evidence.settings.gguf}")]


def adapter(evidence: Evidence, folder: Path) -> list[Hop]:
    """Write the adapter as a GGUF file, and judge it on its base as llama.cpp loads both.

    Raises:
        InputError: whole weights were trained.
    """
    trained, base = evidence.run / "model", evidence.base
    if not (trained / ADAPTER_CONFIG).is_file():
        raise InputError(f"{evidence.run.name}: no adapter of PEFT's", "plain LoRA", "export it --to gguf")
    write_adapter(trained, base.folder, folder / ADAPTER, name=evidence.run.name)
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        whole = Path(beside)
        for source in (base.folder, trained):  # the template and tokens are those of the training
            folders.copy(source, whole)
        for weights in whole.glob("adapter_*"):
            weights.unlink()
        write_model(whole, whole / MODEL, precision=evidence.settings.gguf, name=base.name)
        return [in_llama(evidence, whole / MODEL, f"gguf-lora on {evidence.settings.gguf}", folder / ADAPTER)]


def ollama(evidence: Evidence, folder: Path) -> list[Hop]:
    """Write the plain model as a GGUF file with the Modelfile that makes it one of Ollama's."""
    hops = model(evidence, folder)
    text = modelfile.write(evidence, MODEL)
    (folder / "Modelfile").write_text(text, encoding="utf-8")
    return hops
