"""Switched off, every adapter leaves exactly the base, and comes back as it was."""

import pytest
import torch

from metier.core.errors import SettingsError
from metier.model.load import load_base
from metier.model.ways.off import adapter_off
from tests.model.bases import CPU, adapted, found, logits, relative


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("lora", {}),
        ("lora", {"lora": {"dora": True, "save_modules": ["embeddings", "norm"]}}),
        ("lora", {"lora": {"init": "pissa", "rslora": True}}),
        ("lora", {"lora": {"init": "olora", "save_modules": ["norm"]}}),
        ("lora", {"lora": {"init": "mica"}}),
        ("ia3", {}),
        ("bottleneck", {"bottleneck": {"width": 8}}),
        ("prompt", {"virtual": {"tokens": 4}}),
        ("prefix", {"virtual": {"tokens": 4}}),
    ],
    ids=str,
)
def test_off_is_the_base_and_on_again_is_the_same(tiny_base, method, settings):
    base = found(tiny_base)
    plain, model = logits(load_base(base, device=CPU)), adapted(base, method, **settings)
    before, trains = logits(model), [weight.requires_grad for weight in model.parameters()]
    with adapter_off(model):
        off = logits(model)
    assert relative(off, plain) < 1e-5
    assert relative(before, plain) > 1e-3
    assert torch.equal(logits(model), before)
    assert [weight.requires_grad for weight in model.parameters()] == trains


def test_an_error_inside_leaves_the_adapter_on(tiny_base):
    model = adapted(found(tiny_base), lora={"init": "pissa"})
    before = logits(model)
    with pytest.raises(ValueError, match="inside"), adapter_off(model):
        raise ValueError("inside")
    assert torch.equal(logits(model), before)


def test_the_gradient_of_a_pass_before_is_the_same(tiny_base):
    """The base is asked between forward and backward: the graph must not see the exchange."""
    gradients = []
    for switch in (False, True):
        model = adapted(found(tiny_base), lora={"init": "pissa"})
        ids = torch.arange(12, 24)[None]
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        if switch:
            with adapter_off(model), torch.no_grad():
                model(input_ids=ids, use_cache=False)
        loss.backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]))
    assert torch.equal(*gradients)


@pytest.mark.parametrize(
    ("method", "settings", "words"),
    [
        ("full", {}, "trains its own weights; wanted: a method with adapters"),
        ("lora", {"lora": {"init": "pissa", "dora": True}}, "beside DoRA that started as pissa or olora"),
    ],
)
def test_a_base_that_is_not_there_any_more_is_said_so(tiny_base, method, settings, words):
    with pytest.raises(SettingsError, match=words), adapter_off(adapted(found(tiny_base), method, **settings)):
        pass
