import platform

import pytest
import torch
from peft import LoraConfig, get_peft_model

from metier.engine.decoder import opened
from metier.engine.limits import Limits
from metier.engine.packed import PackedLinear, packed
from tests.engine.crowd import build

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in {"x86_64", "amd64"}, reason="weights are packed on x86 only"
)
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 288, 9000), (5, 63, 4097), (16, 96, 700), (300, 48, 64)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_computes_what_the_plain_one_does(
    dtype: torch.dtype, rows: int, inputs: int, outputs: int, bias: bool
) -> None:
    torch.manual_seed(0)
    plain = torch.nn.Linear(inputs, outputs, bias=bias, dtype=dtype)
    x = torch.randn(1, rows, inputs, dtype=dtype)
    with torch.inference_mode():
        wanted = torch.nn.functional.linear(x.double(), plain.weight.double(), plain.bias.double() if bias else None)
        found = PackedLinear(plain)(x)
    assert found.dtype == dtype
    assert (found.double() - wanted).abs().max() <= TOLERANCE[dtype] * wanted.abs().max()


def test_the_packed_weights_are_what_is_multiplied_with() -> None:
    """Fault: a layer whose packed weights are others must be seen by the test above."""
    plain = torch.nn.Linear(96, 700)
    layer, x = PackedLinear(plain), torch.randn(16, 96)
    with torch.no_grad():
        plain.weight.zero_()
        assert layer(x).abs().max() > plain(x).abs().max()


def test_where_a_gradient_is_wanted_it_is_given() -> None:
    plain = torch.nn.Linear(96, 700)
    x = torch.randn(16, 96, requires_grad=True)
    PackedLinear(plain)(x).sum().backward()
    assert plain.weight.grad is not None
    assert x.grad is not None


def test_a_model_has_packed_layers_inside_the_block_only() -> None:
    model = build()
    before = dict(model.named_modules())
    with packed(model):
        inside = [module for module in model.modules() if isinstance(module, PackedLinear)]
        assert len(inside) == sum(type(module) is torch.nn.Linear for module in before.values())
    assert dict(model.named_modules()) == before


def test_without_room_nothing_is_packed() -> None:
    model = build()
    with packed(model, most_bytes=1000):
        assert not any(isinstance(module, PackedLinear) for module in model.modules())


def test_an_adapters_own_layers_are_left_alone() -> None:
    model = get_peft_model(build(), LoraConfig(r=2, target_modules=["q_proj"]))
    with packed(model):
        names = [name for name, module in model.named_modules() if isinstance(module, PackedLinear)]
    assert any("k_proj" in name for name in names)
    assert not any("q_proj" in name for name in names)


def test_an_engine_packs_its_model() -> None:
    model = build()
    with opened(model, Limits()):
        assert isinstance(model.lm_head, PackedLinear)
    assert not isinstance(model.lm_head, PackedLinear)
