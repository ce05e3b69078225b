"""Any PEFT method by its own name: unknown names are met with the nearest, and what we cannot train is refused."""

import pytest
import torch
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from safetensors.torch import load_file, save_file

from metier.core.errors import ModelError, SettingsError
from metier.model.adapter import why_unmergeable
from metier.model.load import load_tuned
from metier.model.ways import library
from tests.model.bases import CPU, adapted, found, saved
from tests.model.ways import LIBRARY, fresh

ELSEWHERE = {"prompt_tuning", "prefix_tuning"}
"""Known by a shorter name: methods `prompt` and `prefix`."""


def peft(base, name, **config):
    return fresh(base, {"method": "peft", "peft": {"type": name, "config": config}})


def trained(model: torch.nn.Module) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def test_every_method_of_the_library_is_either_proven_or_refused_with_a_reason():
    offered = {kind.value.lower() for kind in PEFT_TYPE_TO_CONFIG_MAPPING}
    assert offered == set(LIBRARY) | set(library._REFUSED) | ELSEWHERE


@pytest.mark.parametrize("name", library._REFUSED)
def test_methods_that_the_loop_cannot_train_are_refused_with_the_reason(tiny_base, name):
    with pytest.raises(SettingsError, match=rf"model\.peft\.type '{name}': its? .*; wanted: another method"):
        peft(found(tiny_base), name)


def test_the_name_of_the_method_is_the_librarys(tiny_base):
    base = found(tiny_base)
    assert any("hada_w1_a" in name for name in trained(peft(base, "LoHa", r=4)))
    assert any("lokr_w1" in name for name in trained(peft(base, "lokr", r=4)))
    with pytest.raises(SettingsError, match=r"model\.peft\.type 'lohaa' is unknown; .*did you mean 'loha'"):
        peft(base, "lohaa")


def test_its_configuration_changes_what_trains(tiny_base):
    base = found(tiny_base)
    assert len(trained(peft(base, "loha", r=4))) == 2 * 7 * 4
    assert len(trained(peft(base, "loha", r=4, target_modules=["q_proj"]))) == 2 * 4


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"rnak": 4}, r"model\.peft\.config\.rnak: unknown to loha; wanted: one of alpha, .*, r, "),
        ({"rank_dropot": 0.1}, r"rank_dropot: unknown to loha; .*did you mean 'rank_dropout'"),
        ({"r": 0}, r"model\.peft \(loha\): .*positive"),
        ({"target_modules": ["nope"]}, r"model\.peft \(loha\): .*nope"),
        ({"layers_to_transform": [0], "target_modules": "q_proj"}, r"model\.peft"),
    ],
)
def test_values_that_do_not_fit_are_refused(tiny_base, config, words):
    with pytest.raises(SettingsError, match=words):
        peft(found(tiny_base), "loha", **config)


@pytest.mark.parametrize("name", library._OURS)
def test_fields_that_the_project_decides_or_that_read_other_files_are_refused(tiny_base, name):
    with pytest.raises(SettingsError, match=rf"model\.peft\.config\.{name}: not for you to set"):
        peft(found(tiny_base), "lora", **{name: "x"})


def test_a_start_that_needs_data_is_refused(tiny_base):
    with pytest.raises(SettingsError, match=r"init_lora_weights 'corda': needs data"):
        peft(found(tiny_base), "lora", init_lora_weights="corda")


def test_the_method_needs_its_section(tiny_base):
    with pytest.raises(SettingsError, match=r"model\.method peft without model\.peft; wanted: peft: \{type"):
        fresh(found(tiny_base), {"method": "peft"})


@pytest.mark.parametrize("name", ["ia3", "vera", "loha"])
def test_a_tensor_too_few_or_too_many_is_refused(tiny_base, tmp_path, name):
    base = found(tiny_base)
    model = adapted(base, "peft", peft={"type": name, "config": LIBRARY[name]})
    path = saved(model, base, tmp_path / "model") / "adapter_model.safetensors"
    tensors = load_file(str(path))
    save_file(dict(list(tensors.items())[1:]), str(path))
    with pytest.raises(ModelError, match="1 places found no tensor"):
        load_tuned(base, path.parent, device=CPU)
    save_file(tensors | {"surprise": torch.ones(2)}, str(path))
    with pytest.raises(ModelError, match="1 tensors found no place"):
        load_tuned(base, path.parent, device=CPU)


def test_why_a_folder_cannot_be_merged_is_known_from_its_files(tiny_base, tmp_path):
    base = found(tiny_base)
    assert "learnt tokens" in why_unmergeable(saved(adapted(base, "prompt"), base, tmp_path / "prompt"))
    assert "bottleneck" in why_unmergeable(saved(adapted(base, "bottleneck"), base, tmp_path / "bottleneck"))
    assert why_unmergeable(saved(adapted(base), base, tmp_path / "lora")) == ""
    assert why_unmergeable(saved(adapted(base, "full"), base, tmp_path / "full")) == ""
