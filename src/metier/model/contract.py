"""What each server loads of what a training makes: one table, asked before anything is trained.

A server that cannot load an adapter says so when it is deployed, or says nothing and answers as the base does. Every
rule names where it is known from; the ones of vLLM and llama.cpp were tried (docs/export.md).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from metier.core.errors import SettingsError
from metier.model.find import Base, read_json
from metier.model.settings import ModelSettings

Target = Literal["vllm", "llama.cpp", "ollama", "transformers", "metier"]
"""Who serves what was trained."""
Form = Literal["adapter", "merged"]
"""What is handed over: the adapter beside its base, or one plain model."""

GGUF_TARGETS: tuple[Target, ...] = ("llama.cpp", "ollama")
"""Servers that load GGUF files."""
VLLM_RANK = 512
"""The largest of vLLM's `max_lora_rank`."""
GGUF_ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text")
"""`model_type` of the models that are written for llama.cpp."""

_LORA = ("lora", "full", "layers")
_UNMERGEABLE = ("bottleneck", "prompt", "prefix")
_OTHERS_METHOD = "set model.method lora"
_MERGE = "or promote.deploy merged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a training makes, as far as a loader cares.

    `method` as in `model.method`, resolved. `rank`: the largest of any adapter as it is saved. `whole_modules`: trained
    and saved whole beside the adapters. `head`: the kind of head in place of the vocabulary, or "". `rows` of the
    embedding and the tokenizer's `ids` (0: not known).
    """

    method: str
    architecture: str
    rank: int = 0
    dora: bool = False
    biases: bool = False
    whole_modules: tuple[str, ...] = ()
    head: str = ""
    rows: int = 0
    ids: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What some servers refuse: `wrong` says what was found, or ""; `do` what to change; `source` who says so."""

    targets: tuple[Target, ...]
    forms: tuple[Form, ...]
    wrong: Callable[[Made], str]
    do: str
    source: str


_ALL: tuple[Target, ...] = ("vllm", "llama.cpp", "ollama", "transformers", "metier")
_BOTH: tuple[Form, ...] = ("adapter", "merged")

RULES: tuple[Rule, ...] = (
    Rule(
        targets=_ALL,
        forms=_BOTH,
        wrong=lambda made: f"{made.ids:,} token ids over {made.rows:,} rows" if 0 < made.rows < made.ids else "",
        do="use a base whose embedding has a row for every token: a vocabulary resized later loads nowhere",
        source="every loader compares the shapes of weights with the configuration",
    ),
    Rule(
        targets=("vllm", *GGUF_TARGETS),
        forms=("adapter",),
        wrong=lambda made: "" if made.method in _LORA else f"model.method {made.method}",
        do=f"{_OTHERS_METHOD}: it loads no other kind of adapter",
        source="vLLM vllm/lora/peft_helper.py; llama.cpp convert_lora_to_gguf.py",
    ),
    Rule(
        targets=("vllm", *GGUF_TARGETS, "transformers"),
        forms=("merged",),
        wrong=lambda made: f"model.method {made.method}" if made.method in _UNMERGEABLE else "",
        do=f"{_OTHERS_METHOD}: what it learns is in no weight of the base and cannot be merged",
        source="metier.model.adapter.why_unmergeable",
    ),
    Rule(
        targets=("transformers",),
        forms=("adapter",),
        wrong=lambda made: "model.method bottleneck" if made.method == "bottleneck" else "",
        do=f"{_OTHERS_METHOD}: PEFT has no such modules",
        source="PEFT 0.21, PeftType",
    ),
    Rule(
        targets=("vllm", *GGUF_TARGETS),
        forms=("adapter",),
        wrong=lambda made: "model.lora.dora" if made.dora else "",
        do=f"set model.lora.dora false, {_MERGE}",
        source="vLLM vllm/lora/peft_helper.py (use_dora); llama.cpp convert_lora_to_gguf.py (magnitudes)",
    ),
    Rule(
        targets=("vllm", *GGUF_TARGETS),
        forms=("adapter",),
        wrong=lambda made: f"model.lora.save_modules {', '.join(made.whole_modules)}" if made.whole_modules else "",
        do=f"set model.lora.save_modules [], {_MERGE}",
        source="vLLM vllm/lora/peft_helper.py (modules_to_save); llama.cpp convert_lora_to_gguf.py (other tensors)",
    ),
    Rule(
        targets=("vllm", *GGUF_TARGETS),
        forms=("adapter",),
        wrong=lambda made: "biases in the adapter" if made.biases else "",
        do=f"set bias none, {_MERGE}",
        source="vLLM vllm/lora/peft_helper.py (bias); llama.cpp convert_lora_to_gguf.py (other tensors)",
    ),
    Rule(
        targets=("vllm",),
        forms=("adapter",),
        wrong=lambda made: f"adapters of rank {made.rank} as they are saved" if made.rank > VLLM_RANK else "",
        do=f"use a model.rank of at most {VLLM_RANK} (half of it with pissa or olora), {_MERGE}",
        source="vLLM vllm/config/lora.py (MaxLoRARanks)",
    ),
    Rule(
        targets=GGUF_TARGETS,
        forms=_BOTH,
        wrong=lambda made: f"train.objective {made.head}" if made.head else "",
        do="set train.objective chat: a GGUF file of a decoder has no place for a head of classes or numbers",
        source="gguf 0.19, tensor_mapping.py: score.weight is in no map of these architectures",
    ),
    Rule(
        targets=GGUF_TARGETS,
        forms=_BOTH,
        wrong=lambda made: "" if made.architecture in GGUF_ARCHITECTURES else f"a base of kind {made.architecture}",
        do=f"use a base of kind {', '.join(GGUF_ARCHITECTURES)}",
        source="metier.promote.export.gguf.architectures: those that were checked",
    ),
)
"""Asked in this order; all that apply are told at once."""


def require(target: Target, form: Form, made: Made) -> None:
    """Refuse what a server would not load.

    Raises:
        SettingsError: with everything that is in the way, and what to change.
    """
    broken = [(found, rule) for rule in RULES if target in rule.targets and form in rule.forms
              and (found := rule.wrong(made))]  # fmt: skip
    if broken:
        what = "an adapter" if form == "adapter" else "a merged model"
        raise SettingsError(
            f"serve.target {target} does not load {what} with {'; '.join(found for found, _ in broken)}",
            f"what {target} loads ({broken[0][1].source})",
            "; ".join(dict.fromkeys(rule.do for _, rule in broken)),
        )


def of_settings(base: Base, model: ModelSettings, method: str, *, head: str = "", ids: int = 0) -> Made:
    """Say what settings would make of a base.

    Args:
        base: the one to train.
        model: how its weights are updated.
        method: as resolved, never "auto".
        head: kind of head that the objective trains, or "".
        ids: token ids of the tokenizer; 0 leaves them out.
    """
    config, chosen = base.config, model.lora
    is_lora = method == "lora"
    doubled = 2 if chosen.init in ("pissa", "pissa-niter", "olora") else 1  # as they fit the original base
    given = model.peft
    return Made(
        method=method if method != "peft" or given is None else f"peft ({given.type})",
        architecture=str(config.get("model_type")),
        rank=doubled * max(model.rank, *chosen.rank_pattern.values(), 0) if is_lora else 0,
        dora=is_lora and chosen.dora,
        whole_modules=chosen.save_modules if is_lora else (),
        head=head,
        rows=_rows(config),
        ids=ids,
    )


def of_folder(base: Base, adapter: dict[str, Any], *, head: str = "") -> Made:
    """Say what a saved adapter is, from its adapter_config.json.

    Args:
        base: that it belongs to.
        adapter: the content of that file.
        head: kind of head that was trained with it, or "".
    """
    kind = str(adapter.get("peft_type")).lower()
    patterns: dict[str, int] = adapter.get("rank_pattern") or {}
    return Made(
        method=kind if kind == "lora" else f"peft ({kind})",
        architecture=str(base.config.get("model_type")),
        rank=max(int(adapter.get("r") or 0), *patterns.values(), 0),
        dora=bool(adapter.get("use_dora")),
        biases=bool(adapter.get("lora_bias")) or adapter.get("bias", "none") != "none",
        whole_modules=tuple(name for name in adapter.get("modules_to_save") or () if not head or name != "score"),
        head=head,
        rows=_rows(base.config),
    )


def read_adapter_facts(folder: Path) -> dict[str, Any]:
    """Return the adapter_config.json of a model folder; {} where it holds no adapter of PEFT's."""
    path = folder / "adapter_config.json"
    return read_json(path) if path.is_file() else {}


def _rows(config: dict[str, Any]) -> int:
    inner = config.get("text_config")
    found = config.get("vocab_size") or (inner.get("vocab_size") if isinstance(inner, dict) else 0)
    return found if isinstance(found, int) else 0
