import copy
import platform

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from metier.engine.decoder import opened
from metier.engine.limits import Limits
from metier.engine.packed import PackedLinear, packed
from tests.engine.crowd import build

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in {"x86_64", "amd64"}, reason="weights are packed on x86 only"
)
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"), [(1, 288, 9000), (5, 63, 4097), (16, 96, 700), (37, 96, 700), (300, 48, 64)]
)
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


def _adapted(**settings: object) -> PeftModel:
    """A model with LoRA that says something, in evaluation mode."""
    torch.manual_seed(1)
    model = get_peft_model(build(), LoraConfig(r=2, target_modules=["q_proj", "up_proj"], **settings))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    return model.eval()


def test_an_adapter_is_folded_into_what_is_packed() -> None:
    model, ids = _adapted(), torch.arange(40)[None] % 60
    before = dict(model.named_modules())
    with torch.inference_mode():
        wanted = model(input_ids=ids).logits
        with packed(model):
            kinds = {name.rpartition(".")[2]: type(module) for name, module in model.named_modules()}
            found = model(input_ids=ids).logits
        with model.disable_adapter(), packed(model):
            without = model(input_ids=ids).logits
        exact = copy.deepcopy(model).double()(input_ids=ids).logits
    assert kinds["q_proj"] is kinds["k_proj"] is PackedLinear
    assert "lora_A" not in kinds
    assert (found - exact).abs().max() <= 2 * (wanted - exact).abs().max(), "it rounds as the library's own way does"
    assert (without - wanted).abs().max() > 1e-2, "an adapter that is switched off is not folded in"
    assert dict(model.named_modules()) == before


def test_an_adapter_that_is_not_folded_in_would_be_seen() -> None:
    """Fault: folding the wrong weight changes what the model says far beyond rounding."""
    model, ids = _adapted(), torch.arange(40)[None] % 60
    with torch.inference_mode():
        wanted = model(input_ids=ids).logits
        with packed(model):
            next(module for name, module in model.named_modules() if name.endswith("q_proj")).weight.mul_(1.01)
            assert (model(input_ids=ids).logits - wanted).abs().max() > 1e-3


@pytest.mark.filterwarnings("ignore:.*lora_bias:UserWarning")
@pytest.mark.parametrize("settings", [{"use_dora": True}, {"lora_bias": True}, {"lora_dropout": 0.5}])
def test_what_one_product_cannot_compute_is_left_to_the_library(settings: dict[str, object]) -> None:
    model = _adapted(**settings).train("lora_dropout" in settings)
    with packed(model):
        names = [name for name, module in model.named_modules() if isinstance(module, PackedLinear)]
    assert any("k_proj" in name for name in names)
    assert not any("q_proj" in name for name in names)


def test_an_engine_packs_its_model() -> None:
    model = build()
    with opened(model, Limits()):
        assert isinstance(model.lm_head, PackedLinear)
    assert not isinstance(model.lm_head, PackedLinear)
