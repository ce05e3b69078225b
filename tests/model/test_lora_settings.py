"""What can be chosen about LoRA changes the adapter, is refused where it names nothing, and is saved for everybody."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from metier.core.errors import ModelError, SettingsError
from metier.model.load import load_base, load_tuned
from metier.model.merge import merge
from tests.model.bases import CPU, GPT2, adapted, change_json, found, logits, relative, saved, write_base
from tests.model.ways import everything, fresh

TAKING = ("pissa", "pissa-niter", "olora")


def lora(base, **chosen):
    return fresh(base, {"method": "lora", "rank": 4, "lora": chosen})


def start(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in everything(model).items() if ".lora_" in name}


def layer(model: torch.nn.Module, name: str) -> LoraLayer:
    return next(
        module for place, module in model.named_modules() if place.endswith(name) and isinstance(module, LoraLayer)
    )


@pytest.mark.parametrize("init", ["default", "gaussian", "orthogonal", "mica", *TAKING])
def test_init_is_how_the_matrices_start_and_the_model_still_answers_as_its_base(tiny_base, init):
    base = found(tiny_base)
    model = lora(base, init=init)
    if init != "default":
        plain = start(lora(base))
        assert any(not torch.equal(tensor, plain[name]) for name, tensor in start(model).items())
    if init != "orthogonal":  # whose product is small and not nothing
        assert relative(logits(model), logits(load_base(base, device=CPU))) < 1e-5


def test_only_a_start_that_takes_from_the_base_changes_it(tiny_base):
    base = found(tiny_base)
    before = everything(load_base(base, device=CPU))
    for init in ("default", "gaussian", "orthogonal", "mica", *TAKING):
        now = layer(lora(base, init=init), "layers.0.self_attn.q_proj").get_base_layer().weight
        same = torch.equal(now, before["model.layers.0.self_attn.q_proj.weight"])
        assert same == (init not in TAKING), init


def test_pissa_takes_the_largest_singular_directions(tiny_base):
    base = found(tiny_base)
    weight = load_base(base, device=CPU).get_submodule("model.layers.0.mlp.up_proj").weight.detach()
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    largest = left[:, :4] @ torch.diag(values[:4]) @ right[:4]
    module = layer(lora(base, init="pissa"), "layers.0.mlp.up_proj")
    taken = module.get_delta_weight("default").detach()
    assert relative(taken, largest) < 1e-4


def test_init_iterations_bring_the_fast_decomposition_nearer_to_the_exact_one(tiny_base):
    base = found(tiny_base)

    def taken(**chosen):
        return layer(lora(base, **chosen), "layers.0.mlp.up_proj").get_delta_weight("default").detach()

    exact = taken(init="pissa")
    few, many = (relative(taken(init="pissa-niter", init_iterations=count), exact) for count in (0, 24))
    assert many < few


def test_rslora_scales_by_the_root_of_the_rank(tiny_base):
    base = found(tiny_base)
    plain, scaled = (layer(lora(base, rslora=chosen), "q_proj").scaling["default"] for chosen in (False, True))
    assert (plain, scaled) == (8 / 4, 8 / 2)


def test_dora_learns_lengths_apart(tiny_base):
    names = [name for name in start(lora(found(tiny_base), dora=True)) if "lora_magnitude_vector" in name]
    assert len(names) == 2 * 7


def test_patterns_give_some_adapters_another_rank_and_alpha(tiny_base):
    model = lora(
        found(tiny_base), rank_pattern={"q_proj": 2, r"layers\.1\.mlp\.up_proj": 6}, alpha_pattern={"v_proj": 1}
    )
    ranks = {
        name: layer(model, name).r["default"] for name in ("q_proj", "layers.1.mlp.up_proj", "layers.0.mlp.up_proj")
    }
    assert list(ranks.values()) == [2, 6, 4]
    assert layer(model, "v_proj").scaling["default"] == 1 / 4


@pytest.mark.parametrize("field", ["rank_pattern", "alpha_pattern"])
def test_a_pattern_that_names_no_adapter_is_refused(tiny_base, field):
    with pytest.raises(
        SettingsError, match=rf"model\.lora\.{field}: querry names no adapter; wanted: some of .*q_proj"
    ):
        lora(found(tiny_base), **{field: {"querry": 2, "q_proj": 2}})


def test_what_the_library_refuses_is_told_as_a_setting(tiny_base):
    with pytest.raises(SettingsError, match=r"model\.lora: .*even"):
        fresh(found(tiny_base), {"method": "lora", "rank": 3, "lora": {"init": "orthogonal"}})


# --- whole modules beside the adapters ------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("modules", [("embeddings",), ("head",), ("embeddings", "head"), ("norm",)])
def test_save_modules_train_whole_and_come_back_in_plain_libraries(tmp_path, tied, modules):
    base = write_base(tmp_path / "base", tie_word_embeddings=tied)
    model = adapted(base, lora={"save_modules": modules})
    trains = [name for name, weight in model.named_parameters() if weight.requires_grad and "lora_" not in name]
    shared = tied and modules != ("norm",)
    assert len(trains) == (1 if shared else len(modules)), trains
    expected = logits(model)
    folder = saved(model, base, tmp_path / "model")
    plain = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    assert relative(logits(PeftModel.from_pretrained(plain, str(folder)).eval()), expected) < 1e-6
    assert relative(logits(load_tuned(base, folder, device=CPU)), expected) < 1e-6
    out = AutoModelForCausalLM.from_pretrained(merge(base, folder, tmp_path / "merged"), dtype=torch.float32).eval()
    assert relative(logits(out), expected) < 1e-5
    assert (out.get_input_embeddings().weight is out.get_output_embeddings().weight) == tied


def test_a_module_that_is_not_there_is_refused(tiny_base):
    with pytest.raises(SettingsError, match=r"model\.lora\.save_modules: 'nrom' not in .*'embeddings', 'head', .*norm"):
        lora(found(tiny_base), save_modules=("nrom",))


# --- for the original base ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", TAKING)
@pytest.mark.parametrize(
    "more", [{}, {"rslora": True}, {"dora": True}, {"rslora": True, "rank_pattern": {"q_proj": 2}}], ids=str
)
@pytest.mark.filterwarnings("ignore::UserWarning:peft.*")
def test_a_start_taken_from_the_base_is_saved_for_the_original_base(tiny_base, tmp_path, init, more):
    base = found(tiny_base)
    model = adapted(base, lora={"init": init} | more, strength=0.05)
    folder = saved(model, base, tmp_path / "model")
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["init_lora_weights"], config["r"]) == (True, 8)
    plain = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    assert relative(logits(plain), logits(model)) > 1e-3
    assert relative(logits(PeftModel.from_pretrained(plain, str(folder)).eval()), logits(model)) < 1e-5


def test_gpt2_whose_matrices_lie_the_other_way_round_is_converted_too(tmp_path):
    base = write_base(tmp_path / "base", GPT2)
    model = adapted(base, lora={"init": "pissa"}, strength=0.05)
    folder = saved(model, base, tmp_path / "model")
    assert relative(logits(load_tuned(base, folder, device=CPU)), logits(model)) < 1e-5


@pytest.mark.parametrize("init", ["pissa", "olora", "pissa_niter_4", "corda", "lora_ga"])
def test_an_adapter_that_fits_a_changed_base_only_is_refused(tiny_base, tmp_path, init):
    base = found(tiny_base)
    folder = saved(adapted(base), base, tmp_path / "model")
    change_json(folder / "adapter_config.json", init_lora_weights=init)
    with pytest.raises(
        ModelError, match=f"an adapter that started as '{init}'; wanted: one that fits the original base"
    ):
        load_tuned(base, folder, device=CPU)


def test_mica_that_has_learnt_nothing_is_refused(tiny_base, tmp_path):
    """One of its matrices is frozen and full: the other says whether there is an effect."""
    base = found(tiny_base)
    folder = saved(lora(base, init="mica"), base, tmp_path / "model")
    assert any(
        tensor.any()
        for name, tensor in load_file(str(folder / "adapter_model.safetensors")).items()
        if "lora_B" in name
    )
    with pytest.raises(ModelError, match="none of which changes the base"):
        load_tuned(base, folder, device=CPU)


def test_a_missing_length_vector_is_a_place_without_a_tensor(tiny_base, tmp_path):
    base = found(tiny_base)
    path = saved(adapted(base, lora={"dora": True}), base, tmp_path / "model") / "adapter_model.safetensors"
    tensors = load_file(str(path))
    save_file(
        {name: tensor for name, tensor in tensors.items() if not ("magnitude" in name and "k_proj" in name)}, str(path)
    )
    with pytest.raises(ModelError, match="2 places found no tensor"):
        load_tuned(base, path.parent, device=CPU)


PRINT_FROZEN = """
import hashlib, sys
from pathlib import Path
from tests.model.bases import found
from tests.model.ways import everything, fresh
for init in ("pissa", "pissa-niter", "olora"):
    model = fresh(found(Path(sys.argv[1])), {"method": "lora", "rank": 4, "lora": {"init": init}})
    for name, tensor in sorted(everything(model).items()):
        print(name.replace(" ", ""), hashlib.sha256(tensor.numpy().tobytes()).hexdigest())
"""


def test_a_start_taken_from_the_base_is_the_same_bits_in_another_process(tiny_base):
    env = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(["src", ".", *sys.path])}
    command = [sys.executable, "-W", "ignore", "-c", PRINT_FROZEN, str(tiny_base)]
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()
    here = []
    for init in TAKING:
        for name, tensor in sorted(everything(lora(found(tiny_base), init=init)).items()):
            here += [name.replace(" ", ""), hashlib.sha256(tensor.numpy().tobytes()).hexdigest()]
    assert told == here
