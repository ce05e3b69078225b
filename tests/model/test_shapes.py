"""A model in outline goes the way of the library's own, also where torch has no kernel for what has no numbers."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from metier.model.shapes import outline
from metier.train.planning.simulate import Watch
from tests.model.bases import relative

SIZES = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "num_experts_per_tok": 2, "num_local_experts": 4}
MIXTURES = {"mixtral": {}, "qwen3_moe": {"moe_intermediate_size": 16}, "gpt_oss": {}}


@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixture_of_experts_is_gone_through_without_numbers(tmp_path, name):
    (tmp_path / "config.json").write_text(json.dumps(SIZES | MIXTURES[name] | {"model_type": name}))
    model = outline(tmp_path)
    ids = torch.zeros(2, 5, dtype=torch.int64, device="meta")
    with Watch():  # the planner's: numbers that are asked for are made up
        logits = model(input_ids=ids).logits
        assert logits.shape == (2, 5, 64)
        logits.sum().backward()
    experts = {name: weight for name, weight in model.named_parameters() if weight.dim() == 3}
    assert len(experts) == 4
    assert all(weight.grad is not None and weight.grad.shape == weight.shape for weight in experts.values())


@pytest.mark.parametrize("name", MIXTURES)
def test_with_numbers_it_computes_what_the_library_computes(tmp_path, name):
    (tmp_path / "config.json").write_text(json.dumps(SIZES | MIXTURES[name] | {"model_type": name}))
    model = outline(tmp_path)
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_config(model.config, dtype=torch.float32, experts_implementation="eager").eval()
    model.to_empty(device="cpu").eval()
    model.load_state_dict(plain.state_dict())
    model.model.rotary_emb = plain.model.rotary_emb
    ids = torch.arange(10).view(2, 5)
    with torch.no_grad():
        found, expected = (each(input_ids=ids, use_cache=False).logits for each in (model, plain))
    assert relative(found, expected) < 1e-5
