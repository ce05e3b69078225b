"""The padded step's loss and gradient in float64 throughout, where architectures do something of their own."""

import pytest
import torch

from metier.forest import score
from metier.forest.way import probe
from metier.train.verify.exact import Exactly, widen
from tests.forest.architectures import HALF_SLIDING, SMALL, build
from tests.forest.test_attend import forest_step
from tests.forest.trees import gradients, padded_loss, prompt_rows, tree_rows

TWO_ROPES = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}
YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 32}
OWN = {
    "a head with a bias": ("phi", {"partial_rotary_factor": 0.5}),
    "multipliers": ("granite", {"logits_scaling": 8.0, "embedding_multiplier": 3.0, "residual_multiplier": 0.5}),
    "scaled logits": ("cohere2", HALF_SLIDING | {"logit_scale": 0.25}),
    "sinks": ("gpt_oss", HALF_SLIDING | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "layers without positions": ("smollm3", {"no_rope_layers": [0, 1]}),
    "two kinds of angles": ("gemma3_text", HALF_SLIDING | {"query_pre_attn_scalar": 8, "rope_parameters": TWO_ROPES}),
    "a head that is the embedding": ("llama", {"tie_word_embeddings": True, "rope_parameters": YARN}),
    "learnt positions": ("opt", {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0}),
}
"""What is tried: the architecture, and its settings beside the usual ones."""


@pytest.mark.parametrize("name", OWN)
def test_the_gradient_is_that_of_the_padded_step(name):
    kind, settings = OWN[name]
    way = probe(build((kind, SMALL | settings), torch.float32))
    assert way.packed
    model = build((kind, SMALL | settings))
    widen(model)
    rows = [*tree_rows(1), *prompt_rows((3, 8, 8, 1))]
    with Exactly():
        plain = padded_loss(model, rows)
        plain.backward()
        expected = gradients(model)
        for read in (score.losses, *([score.head_losses] if way.plain_head else [])):
            loss, ours = forest_step(model, rows, 45, labels_only=way.labels_only, read=read)
            assert loss == pytest.approx(plain.item(), rel=1e-12)
            assert ((ours - expected).norm() / expected.norm()).item() <= 1e-9
