"""(IA)³ scales keys, values and inner activations, on bases that PEFT knows and on those that it does not."""

import pytest
import torch

from metier.core.errors import ModelError, SettingsError
from metier.model.adapt import adapt
from metier.model.load import load_base, load_tuned
from metier.model.settings import ModelSettings
from metier.model.ways import ia3
from tests.model.bases import CPU, GPT2, adapted, found, saved, write_base
from tests.model.ways import fresh

SMALL = {
    "vocab_size": 268,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
PHI3 = {"model_type": "phi3", "num_key_value_heads": 2, "pad_token_id": 0} | SMALL
MAMBA = {"model_type": "mamba", "vocab_size": 268, "hidden_size": 32, "state_size": 8, "num_hidden_layers": 2}


def scaled(base, targets=None) -> dict[str, int]:
    """Return the factors of the first layer: name -> how many numbers."""
    model = fresh(base, {"method": "ia3", "targets": targets})
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    return {name.split(".")[-3]: weight.numel() for name, weight in weights.items() if ".0." in name}


def test_ia3_scales_keys_values_and_the_input_of_the_second_mlp_matrix(tiny_base):
    assert scaled(found(tiny_base)) == {"k_proj": 16, "v_proj": 16, "down_proj": 64}


def test_targets_of_ia3_are_scaled_where_they_should_be(tiny_base, tmp_path):
    assert scaled(found(tiny_base), ("q_proj", "down_proj")) == {"q_proj": 32, "down_proj": 64}
    assert scaled(write_base(tmp_path / "base", GPT2), ("mlp.c_proj", "c_attn")) == {"c_attn": 96, "c_proj": 128}


def test_a_target_of_ia3_that_names_nothing_is_refused(tiny_base):
    with pytest.raises(SettingsError, match=r"model\.targets: querry not in .*; wanted: some of down_proj"):
        scaled(found(tiny_base), ("querry",))


def test_factors_of_one_are_refused(tiny_base, tmp_path):
    base = found(tiny_base)
    folder = saved(fresh(base, {"method": "ia3"}), base, tmp_path / "model")
    with pytest.raises(ModelError, match="answers exactly as the base does"):
        load_tuned(base, folder, device=CPU)


def test_a_base_that_peft_does_not_know_has_its_layers_chosen_and_said(tmp_path):
    base = write_base(tmp_path / "base", PHI3)
    assert scaled(base) == {"qkv_proj": 64, "down_proj": 64}
    (said,) = ia3.reasoned(load_base(base, device=CPU), base, ModelSettings(method="ia3"))
    assert (said.name, said.value) == ("model.targets", ["qkv_proj", "down_proj"])
    assert said.reason.startswith("PEFT names none for phi3")
    folder = saved(adapted(base, "ia3"), base, tmp_path / "model")
    ids = torch.arange(9)[None]
    with torch.no_grad():
        moved, plain = (
            load_tuned(base, folder, device=CPU)(input_ids=ids).logits,
            load_base(base, device=CPU)(input_ids=ids).logits,
        )
    assert (moved - plain).abs().max() > 1e-3


@pytest.mark.parametrize("config", [None, GPT2], ids=["llama", "gpt2"])
def test_where_peft_knows_the_layers_the_choice_would_be_the_same(config, tmp_path, monkeypatch):
    base = write_base(tmp_path / "base", config)
    model, settings = load_base(base, device=CPU), ModelSettings(method="ia3")
    assert ia3.chosen_targets(model, base) is None
    assert ia3.reasoned(model, base, settings) == []
    known = set(ia3.KNOWN[model.config.model_type])
    monkeypatch.setattr(ia3, "KNOWN", {})
    assert set(ia3.chosen_targets(model, base) or ()) == known


def test_what_the_settings_name_is_not_chosen(tmp_path):
    base = write_base(tmp_path / "base", PHI3)
    model = load_base(base, device=CPU)
    assert ia3.reasoned(model, base, ModelSettings(method="ia3", targets=("o_proj",))) == []


def test_a_base_without_such_layers_says_which_there_are_and_what_names_them(tmp_path):
    base = write_base(tmp_path / "base", MAMBA)
    settings = ModelSettings(method="ia3")
    with pytest.raises(SettingsError, match=r"ia3: .* has no layers .*; wanted: some of in_proj, .*model\.targets: \["):
        adapt(load_base(base, device=CPU), base, "ia3", settings, seed=0)
