"""Frozen weights in the kernel's order: the same training, and the plain way wherever it must be taken."""

import copy
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model

from metier.model import lora
from metier.model.lora import CUSTOM_MODULES, LoraLinear, packed_bytes, packed_frozen
from metier.model.packing import is_possible, pack, product, reordered
from metier.model.product import room
from tests.engine.crowd import build

pytestmark = pytest.mark.skipif(not is_possible(torch.float32), reason="weights are packed on x86 only")


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Let every machine pack, those with 512-bit registers too."""
    monkeypatch.setattr(lora, "is_wide", lambda: False)


def adapted(kind: str = "llama") -> torch.nn.Module:
    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    config._register_custom_module(CUSTOM_MODULES)
    torch.manual_seed(1)
    model = get_peft_model(build(kind), config).train()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.1)
    return model


def gradients(model: torch.nn.Module, *, bfloat16: bool = False) -> torch.Tensor:
    """Return all gradients of a loss, behind one another."""
    ids = torch.arange(3, 43)[None]
    model.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        model(input_ids=ids, labels=ids).loss.backward()
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


def layers(model: torch.nn.Module) -> list[LoraLinear]:
    return [module for module in model.modules() if isinstance(module, LoraLinear)]


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
@pytest.mark.parametrize(("bfloat16", "bound"), [(False, 1e-5), (True, 3e-2)])
def test_gradients_are_those_of_plain_weights(kind: str, bfloat16: bool, bound: float) -> None:
    model = adapted(kind)
    wanted = gradients(model, bfloat16=bfloat16)
    with packed_frozen(model, torch.bfloat16 if bfloat16 else torch.float32):
        assert all(layer.packed is not None for layer in layers(model))
        found = gradients(model, bfloat16=bfloat16)
    assert all(layer.packed is None for layer in layers(model))
    assert (found - wanted).norm() <= bound * wanted.norm()


def test_what_is_packed_is_what_is_multiplied_with() -> None:
    """Fault: another weight under the same layer must be seen by the test above."""
    model = adapted()
    wanted = gradients(model)
    with packed_frozen(model, torch.float32):
        layer = layers(model)[0]
        other = pack(layer.base_layer.weight + 1, torch.float32, 64)
        assert layer.packed is not None
        layer.packed = replace(other, made_of=layer.packed.made_of)
        assert (gradients(model) - wanted).norm() > 1e-2 * wanted.norm()


def test_a_weight_that_was_changed_or_moved_is_not_taken_from_its_packed_form() -> None:
    model = adapted()
    with packed_frozen(model, torch.float32):
        with torch.no_grad():
            for layer in layers(model):
                layer.base_layer.weight.mul_(1.5)
        found = gradients(model)
        twin = copy.deepcopy(model)
        assert torch.equal(gradients(twin), found)
    assert torch.equal(gradients(model), found)


def test_without_room_nothing_is_packed() -> None:
    model = adapted()
    with packed_frozen(model, torch.float32, most_bytes=1000):
        assert all(layer.packed is None for layer in layers(model))


def test_the_bytes_are_those_of_two_copies() -> None:
    model = adapted()
    wanted = sum(2 * layer.base_layer.weight.nbytes for layer in layers(model))
    assert packed_bytes(model, torch.float32) == wanted
    assert packed_bytes(model, torch.bfloat16) == wanted // 2
    assert packed_bytes(model, torch.float64) == 0


def test_few_numbers_of_rows_are_ever_computed() -> None:
    rooms = [room(rows) for rows in range(1, 1057)]
    assert all(rows <= found for rows, found in enumerate(rooms, 1))
    assert sum(rooms) < 1.06 * sum(range(1, 1057))
    assert len(set(rooms)) < 50


@pytest.mark.parametrize(("rows", "inputs"), [(1, 48), (37, 48), (300, 32), (1000, 32)])
def test_rows_that_fill_a_product_change_nothing(rows: int, inputs: int) -> None:
    weight, bias, x = torch.randn(24, inputs), torch.randn(24), torch.randn(1, rows, inputs)
    found = product(x, reordered(weight, 64), bias)
    assert found.shape == (1, rows, 24)
    assert torch.allclose(found, torch.nn.functional.linear(x, weight, bias), atol=1e-4)


GROWTH = """
import random, sys
import psutil, torch
from metier.model.packing import product, reordered
weight = reordered(torch.randn(288, 288), 1024)
x, random = torch.randn(1024, 288), random.Random(0)
multiply = product
if sys.argv[1] == "exact":
    multiply = lambda x, w: torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], "")
multiply(x, weight)
before = psutil.Process().memory_info().rss
for _ in range(150):
    multiply(x[: random.randint(500, 1023)], weight)
print((psutil.Process().memory_info().rss - before) >> 20)
"""


def test_micro_batches_of_every_length_keep_few_kernels() -> None:
    """Fault: products with just as many rows as there are leave a kernel behind for every number of them."""
    filled, exact = (
        int(subprocess.run([sys.executable, "-c", GROWTH, how], capture_output=True, text=True, check=True).stdout)
        for how in ("filled", "exact")
    )
    print(filled, exact)
    assert filled < 30 < exact


def test_nothing_is_packed_where_plain_weights_are_as_fast(monkeypatch):
    model = adapted()
    monkeypatch.setattr(lora, "is_wide", lambda: True)
    assert packed_bytes(model, torch.float32) == 0
    assert packed_bytes(model, torch.bfloat16) > 0
    with packed_frozen(model, torch.float32):
        assert all(layer.packed is None for layer in layers(model))
