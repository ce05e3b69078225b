"""Packed equals alone, for every way of attending that we claim: grouped heads, windows, caps, experts."""

import pytest
import torch

from metier.forest import score
from metier.forest.attend import NAME, inner_model, packed, packed_attention
from metier.forest.pack import pack
from tests.forest.architectures import PACKABLE, build, sequences

LENGTHS = (21, 9, 9, 2, 15)
"""The longest is over three windows of six, two are equal, one is as short as can be."""

TOLERANCE = {"gpt2": 1e-9, "qwen3_moe": 2e-4, "mixtral": 2e-4}
_DEFAULT = 2e-5
"""Nats in float64 (experts: float32, the library has no other);
rotary angles, norms and the cap's softmax are float32 inside the library."""


def dtype_of(name: str) -> torch.dtype:
    return torch.float32 if name in ("qwen3_moe", "mixtral") else torch.float64


@pytest.mark.parametrize("name", PACKABLE)
def test_packed_equals_alone(name):
    model = build(PACKABLE[name], dtype_of(name))
    batch = pack(sequences(LENGTHS))
    with torch.no_grad():
        expected = score.alone(model, batch)
        with packed(model):
            error = (score.losses(model, batch) - expected).abs().max().item()
    assert error <= TOLERANCE.get(name, _DEFAULT)
    assert expected.std() > 0.1, "a model that says the same everywhere would prove nothing"


@pytest.mark.parametrize("name", PACKABLE)
def test_gradients_are_equal_too(name):
    model = build(PACKABLE[name], dtype_of(name))
    batch = pack(sequences(LENGTHS))
    gradients = []
    for losses in (score.alone, score.losses):
        model.zero_grad()
        if losses is score.losses:
            with packed(model):
                losses(model, batch).sum().backward()
        else:
            losses(model, batch).sum().backward()
        gradients.append(torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None]))
    assert ((gradients[0] - gradients[1]).norm() / gradients[0].norm()).item() <= (
        1e-5 if dtype_of(name) == torch.float64 else 1e-4
    )


@pytest.mark.parametrize("forgotten", ["segments", "sliding_window", "softcap"])
def test_what_the_attention_forgets_is_found(forgotten, monkeypatch):
    """The planted faults: without each of its three facts, packed differs from alone."""
    kind = PACKABLE["gemma2, softcap and sliding"]
    model = build(kind)
    batch = pack(sequences(LENGTHS))

    def forgetful(*args, **kwargs):
        return packed_attention(*args, **{name: value for name, value in kwargs.items() if name != forgotten})

    monkeypatch.setattr("metier.forest.attend.packed_attention", forgetful)
    with torch.no_grad():
        expected = score.alone(model, batch)
        with packed(model):
            error = (score.losses(model, batch) - expected).abs().max().item()
    assert error > 1e-3


def test_the_models_own_attention_is_restored(tiny_base):
    model = build(PACKABLE["llama"])
    before = model.config._attn_implementation
    seen = []

    def fail_inside() -> None:
        with packed(model):
            seen.append(model.config._attn_implementation)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail_inside()
    assert seen == [NAME]
    assert model.config._attn_implementation == before
    assert inner_model(model) is model


def test_dropout_zeroes_attention_while_it_is_asked_for():
    query = torch.randn(1, 2, 6, 4)
    torch.manual_seed(0)
    plain, _ = packed_attention(torch.nn.Identity(), query, query, query, None, segments=(6,))
    dropped, _ = packed_attention(torch.nn.Identity(), query, query, query, None, dropout=0.5, segments=(6,))
    assert plain.shape == (1, 6, 2, 4)
    assert not torch.equal(plain, dropped)
