"""What vLLM and LoRAX load, with the lines that start them."""

from pathlib import Path

from safetensors import safe_open

from metier.core.errors import ModelError
from metier.model.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from metier.model.contract import of_folder, read_adapter_facts, require
from metier.promote.evidence import Evidence
from metier.promote.export import folders
from metier.promote.hops import Hop
from metier.text import targets

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` takes (vLLM's vllm/config/lora.py), 1 left out."""
_KNOWN = (".lora_A.weight", ".lora_B.weight")


def launch(evidence: Evidence, folder: Path) -> list[Hop]:
    """Write the adapter (or the plain model, as `promote.deploy` says) and the lines that serve it.

    vLLM itself is not started: its rules are asked (metier.model.contract), and the weights are judged as PEFT or
    transformers load them, whose arithmetic it repeats.

    Raises:
        SettingsError: vLLM's loader would refuse it; says what to train otherwise.
        InputError: whole weights were trained and an adapter is asked for, or the other way round.
    """
    trained = evidence.run / "model"
    if evidence.settings.deploy == "merged" or not (trained / ADAPTER_CONFIG).is_file():
        hops = folders.merged(evidence, folder)
        _write(folder, "vllm.sh", _lines(["vllm serve .", f"--served-model-name {evidence.run.name}"]))
        return hops
    head = targets.read(trained)
    made = of_folder(evidence.base, read_adapter_facts(trained), head="" if head is None else head.kind)
    require("vllm", "adapter", made)
    _require_known(trained)
    hops = folders.adapter(evidence, folder)
    rank = next(rank for rank in _RANKS if rank >= made.rank)
    base = evidence.base.name if evidence.base.kind == "hub" else str(evidence.base.folder.resolve())
    name = evidence.run.name
    vllm = [f"vllm serve {base}", "--enable-lora", f"--max-lora-rank {rank}", f"--lora-modules {name}=.",
            "--chat-template ./chat_template.jinja"]  # fmt: skip
    _write(folder, "vllm.sh", _lines(vllm))
    lorax = [f"lorax-launcher --model-id {base}", "--adapter-source local", '--adapter-id "$PWD"']
    _write(folder, "lorax.sh", _lines(lorax))
    return hops


def _require_known(trained: Path) -> None:
    """Check that every tensor is one that the loader has a place for: names decide there, not the configuration."""
    with safe_open(str(trained / ADAPTER_WEIGHTS), framework="pt") as stored:
        other = [name for name in stored.keys() if not name.endswith(_KNOWN) and ".score." not in name]  # noqa: SIM118
    if other:
        raise ModelError(f"{trained}: vLLM has no place for {other[0]}", "plain LoRA", "set promote.deploy merged")


def _lines(parts: list[str]) -> str:
    return 'cd "$(dirname "$0")" &&\n' + " \\\n  ".join(parts) + "\n"


def _write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n# Written by metier.\n{text}", encoding="utf-8")
