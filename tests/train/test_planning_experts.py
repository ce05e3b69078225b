"""The planner on mixtures of experts: LoRA on their weights is gone through, and what lies in few bits is told."""

import json
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from metier.core.errors import SettingsError
from metier.forest.arrange import arrange
from metier.model.adapt import adapt
from metier.model.find import find
from metier.model.load import load_base
from metier.model.quantise.freeze import described, quantise
from metier.model.settings import ModelSettings
from metier.model.shapes import outline
from metier.report.cells import size
from metier.train.planning import run as planning
from metier.train.planning import simulate as going
from metier.train.planning.predict import Configuration, Setting, simulate
from tests.conftest import write_tokenizer
from tests.forest.architectures import PACKABLE
from tests.model.bases import CPU, write_base
from tests.train.test_planning import rows

MIXTURES: dict[str, dict[str, Any]] = {
    kind: facts | {"vocab_size": 268}
    for kind, facts in (PACKABLE[name] for name in ("mixtral", "qwen3_moe", "deepseek_v3"))
}
CONFIGURATION = Configuration(method="lora", checkpointing=False, micro_batch_tokens=256)


def config_alone(name: str, folder: Path) -> Setting:
    folder.mkdir(exist_ok=True)
    write_tokenizer(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": name} | MIXTURES[name]))
    return Setting(base=find(str(folder), folder, weights=False), model=ModelSettings(), process=0)


def work():
    return arrange([replace(row, ids=row.ids % 268) for row in rows(variable_first=False)], 256)


@pytest.mark.parametrize("name", MIXTURES)
def test_lora_on_experts_is_planned_from_a_configuration_alone(name, tmp_path):
    """The weights of every expert are folded with their adapters in each pass, and kept for the way back."""
    setting = config_alone(name, tmp_path / "base")
    found = simulate(setting, CONFIGURATION, work())
    experts = sum(weight.nbytes for weight in outline(setting.base.folder).parameters() if weight.ndim == 3)
    assert experts > 0
    assert found.memory.activations > experts
    full = simulate(setting, replace(CONFIGURATION, method="full"), work())
    assert 0 < found.trained < full.trained


def test_without_a_switch_for_models_without_numbers_torch_refuses(tmp_path, monkeypatch):
    """The planted fault, and the sign of a PEFT that needs no help any more."""
    setting = config_alone("mixtral", tmp_path / "base")
    monkeypatch.setattr(going, "_autocast_everywhere", nullcontext)
    with pytest.raises(SettingsError, match="a step cannot be gone through"):
        simulate(setting, CONFIGURATION, work())


def test_the_switch_is_torchs_own_again_and_still_obeys():
    before = torch.autocast
    with going._autocast_everywhere(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.is_autocast_enabled("cpu")
        with torch.autocast(device_type="meta", enabled=False):
            assert not torch.is_autocast_enabled("cpu")
        assert torch.is_autocast_enabled("cpu")
    assert torch.autocast is before


@pytest.mark.parametrize(
    "kind",
    [
        "int8",
        pytest.param("nf4", marks=pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="metier[qlora]")),
    ],
)
def test_what_of_a_mixture_lies_in_few_bits_is_told_with_its_bytes(kind, tmp_path):
    base = write_base(tmp_path / "base", {"model_type": "mixtral"} | MIXTURES["mixtral"])
    model = quantise(adapt(load_base(base, device=CPU), base, "lora", ModelSettings(), seed=0), kind, CPU)
    told = described(model, kind)
    experts = 2 * 4 * (2 * 48 * 32 + 32 * 48) * 4
    assert f"in float32 stay {size(experts)} of experts" in told
    setting = Setting(base=base, model=ModelSettings(quantise=kind), process=0)
    (planned,) = planning._of_the_model(setting, replace(CONFIGURATION, quantise=kind))
    assert (planned.name, planned.value, planned.reason) == ("model.quantise", kind, told)
    found = simulate(setting, replace(CONFIGURATION, quantise=kind), work())
    assert found.memory.weights == sum(weight.nbytes for weight in model.parameters())


def test_a_base_without_experts_is_told_without_them(tiny_base):
    base = find(str(tiny_base), tiny_base)
    model = quantise(adapt(load_base(base, device=CPU), base, "lora", ModelSettings(), seed=0), "int8", CPU)
    assert "experts" not in described(model, "int8")
    rounded = sum(w.nbytes for name, w in model.named_parameters() if name.endswith(("codes", "scale")))
    assert f"14 linear layers lie in int8 and take {size(rounded)}" in described(model, "int8")
