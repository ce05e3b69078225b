"""Every rule of the contract with its planted fault, and what no rule may refuse."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from metier.core.errors import SettingsError
from metier.model.contract import (
    GGUF_ARCHITECTURES,
    RULES,
    Made,
    Target,
    of_folder,
    of_settings,
    require,
)
from metier.model.find import find
from metier.model.settings import ModelSettings
from metier.promote.export.gguf.architectures import ARCHITECTURES

PLAIN = Made(method="lora", architecture="llama", rank=16, rows=268, ids=268)

FAULTS: list[tuple[Target, dict[str, Any], str, str]] = [
    ("vllm", {"dora": True}, "model.lora.dora", "promote.deploy merged"),
    ("llama.cpp", {"dora": True}, "model.lora.dora", "promote.deploy merged"),
    ("vllm", {"whole_modules": ("embeddings",)}, "save_modules embeddings", "save_modules []"),
    ("ollama", {"whole_modules": ("norm",)}, "save_modules norm", "save_modules []"),
    ("vllm", {"rank": 513}, "rank 513", "at most 512"),
    ("vllm", {"method": "ia3"}, "model.method ia3", "model.method lora"),
    ("llama.cpp", {"method": "prefix"}, "model.method prefix", "model.method lora"),
    ("transformers", {"method": "bottleneck"}, "model.method bottleneck", "PEFT has no such modules"),
    ("vllm", {"biases": True}, "biases", "bias none"),
    ("llama.cpp", {"head": "classify"}, "train.objective classify", "train.objective chat"),
    ("ollama", {"architecture": "gpt_neox"}, "a base of kind gpt_neox", "qwen3"),
    ("metier", {"ids": 270}, "270 token ids over 268 rows", "a row for every token"),
]


@pytest.mark.parametrize(("target", "fault", "found", "do"), FAULTS)
def test_what_a_server_would_not_load_is_refused_with_what_to_change(
    target: Target, fault: dict[str, Any], found: str, do: str
) -> None:
    require(target, "adapter", PLAIN)
    with pytest.raises(SettingsError) as caught:
        require(target, "adapter", dataclasses.replace(PLAIN, **fault))
    assert found in caught.value.found
    assert target in caught.value.found
    assert do in caught.value.do


def test_every_rule_is_shown_by_a_fault_and_names_its_source() -> None:
    shown = [
        rule
        for rule in RULES
        for target, fault, _, _ in FAULTS
        if target in rule.targets and rule.wrong(dataclasses.replace(PLAIN, **fault))
    ]
    assert [rule for rule in RULES if rule not in shown and rule.forms != ("merged",)] == []
    assert all(rule.source and rule.do for rule in RULES)


@pytest.mark.parametrize("target", ["vllm", "llama.cpp", "ollama", "transformers", "metier"])
def test_a_merged_model_may_have_been_trained_as_it_pleases(target: Target) -> None:
    require(target, "merged", dataclasses.replace(PLAIN, dora=True, whole_modules=("embeddings",), rank=9999))


@pytest.mark.parametrize("target", ["vllm", "llama.cpp", "transformers"])
def test_what_cannot_be_merged_is_refused_as_a_merged_model(target: Target) -> None:
    with pytest.raises(SettingsError, match="cannot be merged"):
        require(target, "merged", dataclasses.replace(PLAIN, method="prompt"))


def test_everything_in_the_way_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        require("vllm", "adapter", dataclasses.replace(PLAIN, dora=True, rank=600))
    assert "model.lora.dora" in caught.value.found
    assert "rank 600" in caught.value.found


def test_settings_are_read_as_what_they_save(tiny_base: Path) -> None:
    base = find(str(tiny_base), tiny_base)
    chosen = {"rank": 300, "lora": {"init": "pissa", "dora": True, "save_modules": ["norm"], "rank_pattern": {"q": 8}}}
    made = of_settings(base, ModelSettings.model_validate(chosen), "lora", ids=268)
    assert made == Made(
        method="lora", architecture="llama", rank=600, dora=True, whole_modules=("norm",), rows=268, ids=268
    )
    whole = of_settings(base, ModelSettings.model_validate(chosen), "full")
    assert (whole.rank, whole.dora, whole.whole_modules) == (0, False, ())
    other = ModelSettings.model_validate({"method": "peft", "peft": {"type": "loha"}})
    assert of_settings(base, other, "peft").method == "peft (loha)"


def test_a_saved_adapter_is_read_alike(tiny_base: Path) -> None:
    base = find(str(tiny_base), tiny_base)
    facts = {"peft_type": "LORA", "r": 8, "rank_pattern": {"q": 64}, "use_dora": True, "modules_to_save": ["score"]}
    made = of_folder(base, facts, head="classify")
    assert (made.method, made.rank, made.dora, made.whole_modules) == ("lora", 64, True, ())
    assert of_folder(base, facts).whole_modules == ("score",)
    assert of_folder(base, {"peft_type": "IA3"}).method == "peft (ia3)"
    assert of_folder(base, {"peft_type": "LORA", "r": 8, "bias": "all"}).biases


def test_the_table_knows_the_architectures_that_are_written() -> None:
    assert set(GGUF_ARCHITECTURES) == set(ARCHITECTURES)
