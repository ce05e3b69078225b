"""Products by oneDNN and by torch are the same products; rows and sums of every length."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.model import product
from metier.model.product import add_product, is_wide, multiply

SIZES = st.integers(1, 300)


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True, params=[0, 1 << 40], ids=["all by oneDNN", "none"])
def least(request, monkeypatch):
    monkeypatch.setattr(product, "_LEAST_WORK", request.param)


@pytest.mark.parametrize("strided", [False, True])
@settings(max_examples=40, deadline=None)
@given(rows=SIZES, inputs=SIZES, outputs=SIZES, with_bias=st.booleans())
def test_a_product_is_torchs(strided, rows, inputs, outputs, with_bias):
    x, bias = drawn(1, rows, inputs), drawn(3, outputs) if with_bias else None
    weight = drawn(2, inputs, outputs).T if strided else drawn(2, outputs, inputs)
    expected = torch.nn.functional.linear(x.double(), weight.double(), None if bias is None else bias.double())
    assert (multiply(x, weight, bias) - expected).abs().max() <= 1e-6 * inputs**0.5 * 20


@settings(max_examples=40, deadline=None)
@given(rows=SIZES, inputs=SIZES, outputs=SIZES)
def test_a_product_is_added_to_what_is_there(rows, inputs, outputs):
    left, right, target = drawn(1, rows, outputs).T, drawn(2, rows, inputs), drawn(3, outputs, inputs)
    expected = target.double() + left.double() @ right.double()
    add_product(target, left, right)
    assert (target - expected).abs().max() <= 1e-6 * rows**0.5 * 20


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_left_to_torch(dtype):
    x, weight = drawn(1, 65, 40).to(dtype), drawn(2, 30, 40).to(dtype)
    assert torch.equal(multiply(x, weight), torch.nn.functional.linear(x, weight))
    target, left, right = torch.zeros(30, 40), drawn(1, 30, 65).to(dtype), drawn(2, 65, 40).to(dtype)
    add_product(target, left, right)
    assert torch.equal(target, (left @ right).float())


@pytest.mark.skipif(not is_wide(), reason="this CPU has no 512-bit registers, or no oneDNN")
def test_large_products_go_to_onednn_and_small_ones_do_not(monkeypatch):
    monkeypatch.setattr(product, "_LEAST_WORK", 1 << 21)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        multiply(drawn(1, 100, 200), drawn(2, 300, 200))
    assert "mkldnn::_linear_pointwise" in {event.name for event in seen.events()}
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        multiply(drawn(1, 4, 8), drawn(2, 8, 8))
    assert "mkldnn::_linear_pointwise" not in {event.name for event in seen.events()}
