"""The LoRA linear in one step equals PEFT's own, and leaves to PEFT whatever is not plain."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

from metier.model.lora import CUSTOM_MODULES, Frozen, LoraLinear, LoraProduct
from metier.model.packing import can_pack, pack
from metier.model.quantise.freeze import quantise


def adapted(ours: bool, *, bias: bool = True, **settings) -> torch.nn.Module:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 5, bias=bias), torch.nn.Linear(5, 4)).double()
    config = LoraConfig(target_modules=["0", "1"], r=2, lora_alpha=6, **settings)
    if ours:
        config._register_custom_module(CUSTOM_MODULES)
    made = get_peft_model(net, config).double()
    with torch.no_grad():
        torch.manual_seed(1)
        for name, weight in made.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    return made


def outcome(net: torch.nn.Module) -> list[torch.Tensor]:
    torch.manual_seed(2)
    x = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
    y = net(x)
    (y * torch.arange(4)).sum().backward()
    return [y.detach(), x.grad, *[w.grad for w in net.parameters() if w.grad is not None]]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}, {"use_dora": True}, {"lora_dropout": 0.4}])
def test_values_and_gradients_are_those_of_peft(settings, bias):
    ours, theirs = adapted(True, bias=bias, **settings), adapted(False, bias=bias, **settings)
    assert isinstance(ours.base_model.model[0], LoraLinear)
    for mine, other in zip(outcome(ours), outcome(theirs), strict=True):
        assert torch.allclose(mine, other, atol=1e-12)


@pytest.mark.parametrize("packed", [False, True])
def test_what_comes_out_may_be_changed_in_place_as_some_models_do(packed):
    torch.manual_seed(0)
    x, w, down, up = (torch.randn(*size) for size in ((2, 37, 64), (48, 64), (4, 64), (48, 4)))
    down.requires_grad_(True)
    if packed and not can_pack(w, w.dtype):
        pytest.skip("weights are not packed here")
    frozen = Frozen(w, None, 0.5, torch.float32, pack(w, w.dtype, 64) if packed else None)
    gradients = []
    for in_place in (True, False):
        y = LoraProduct.apply(x, frozen, down, up)
        y = y.mul_(3) if in_place else y * 3
        gradients.append(torch.autograd.grad(y.square().sum(), down)[0])
    assert torch.equal(*gradients)


def test_gradients_against_finite_differences():
    torch.manual_seed(0)
    x, w, b, down, up = (torch.randn(*s, dtype=torch.float64) for s in ((3, 4), (5, 4), (5,), (2, 4), (5, 2)))
    for tensor in (x, down, up):
        tensor.requires_grad_(True)
    frozen = Frozen(w, b, 0.7, torch.float64)
    assert torch.autograd.gradcheck(lambda x, *adapter: LoraProduct.apply(x, frozen, *adapter), (x, down, up))


def test_under_autocast_products_are_in_bfloat16_and_gradients_in_the_type_of_their_weights():
    ours, theirs = adapted(True).float(), adapted(False).float()
    found = []
    for net in (ours, theirs):
        torch.manual_seed(2)
        x = torch.randn(2, 3, 6, requires_grad=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = net(x)
        assert y.dtype == torch.bfloat16
        (y.float() * torch.arange(4)).sum().backward()
        found.append([y.detach().float(), x.grad, *[w.grad for w in net.parameters() if w.grad is not None]])
    for mine, other in zip(*found, strict=True):
        assert mine.dtype == torch.float32
        assert (mine - other).norm() < 0.02 * other.norm()
    assert not torch.equal(found[0][0], outcome(adapted(True))[0].float())


def test_a_switched_off_or_merged_adapter_is_off_or_merged():
    ours = adapted(True)
    x = torch.randn(3, 6, dtype=torch.float64)
    tuned = ours(x)
    with ours.disable_adapter():
        assert not torch.allclose(ours(x), tuned)
    ours.merge_adapter()
    assert torch.allclose(ours(x), tuned, atol=1e-12)


def test_the_plain_case_takes_the_short_way(monkeypatch):
    """The planted fault: were our product never called, everything above would pass by PEFT's own hand."""
    called = []
    plain = LoraProduct.apply
    monkeypatch.setattr(LoraProduct, "apply", lambda *a: (called.append(1), plain(*a))[1])
    adapted(True)(torch.randn(3, 6, dtype=torch.float64))
    assert len(called) == 2
    adapted(True, use_dora=True)(torch.randn(3, 6, dtype=torch.float64))
    assert len(called) == 2


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_beside_a_base_in_fewer_bits_it_is_peft_s_too(kind, autocast):
    """Values and gradients; and it is our product that was called, since only that keeps no second output."""
    if kind == "nf4":
        pytest.importorskip("bitsandbytes")
    found = []
    for ours in (True, False):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(64, 48), torch.nn.Linear(48, 32))
        config = LoraConfig(target_modules=["0", "1"], r=2, lora_alpha=6)
        if ours:
            config._register_custom_module(CUSTOM_MODULES)
        made = quantise(get_peft_model(net, config), kind, torch.device("cpu"))
        with torch.no_grad():
            torch.manual_seed(1)
            for name, weight in made.named_parameters():
                if "lora_B" in name:
                    weight.normal_()
        torch.manual_seed(2)
        x = torch.randn(2, 3, 64, requires_grad=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            y = made(x)
        assert (type(y.grad_fn.next_functions[0][0]).__name__ == "LoraProductBackward") == ours
        (y.float() * torch.arange(32)).sum().backward()
        found.append([y.detach(), x.grad, *[w.grad for w in made.parameters() if w.grad is not None]])
    for mine, other in zip(*found, strict=True):
        assert mine.dtype == other.dtype
        assert (mine - other).float().norm() <= (0.02 if autocast else 1e-5) * other.float().norm()
