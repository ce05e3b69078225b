"""Plain layers by the faster library are the same layers; gradients of whole weights are added up where they lie."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from metier.model.linear import is_plain, is_summed, quick, summed
from metier.model.product import is_wide


class Tied(torch.nn.Module):
    """An embedding, a layer with a bias that is used twice, and a head that is the embedding's matrix."""

    def __init__(self, padding: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rows = torch.nn.Embedding(11, 6, padding_idx=padding)
        self.twice = torch.nn.Linear(6, 6)
        self.head = torch.nn.Linear(6, 11, bias=False)
        self.head.weight = self.rows.weight
        self.double()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.twice(self.twice(self.rows(ids)).tanh()))


def batches() -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return [torch.randint(0, 11, (2, length), generator=random) for length in (5, 7, 3)]


def learnt(model: torch.nn.Module, ids: torch.Tensor) -> None:
    torch.nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("padding", [None, 3])
def test_the_sum_over_micro_batches_is_autograds(padding: int | None) -> None:
    plain, ours = Tied(padding), Tied(padding)
    for ids in batches():
        learnt(plain, ids)
        with summed(ours):
            learnt(ours, ids)
    assert gradients(ours).keys() == gradients(plain).keys()
    for name, expected in gradients(plain).items():
        torch.testing.assert_close(gradients(ours)[name], expected, rtol=1e-12, atol=1e-14)


class Made(TorchDispatchMode):
    """The memory, by address, that operations took for matrices of a shape."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.shape = shape
        self.places: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {each.data_ptr() for each in args if isinstance(each, torch.Tensor)}
        if isinstance(out, torch.Tensor) and out.shape == self.shape and out.data_ptr() not in given:
            self.places.add(out.data_ptr())
        return out


@pytest.mark.parametrize("layer", ["rows", "twice"])
def test_a_later_micro_batch_takes_no_memory_for_a_gradient(layer: str) -> None:
    ids = batches()[0]
    made = {}
    for name, block in (("ours", summed), ("autograd's", nullcontext)):
        model = Tied()
        learnt(model, ids)
        with block(model), Made(model.get_submodule(layer).weight.shape) as seen:
            learnt(model, ids)
        made[name] = len(seen.places)
    assert made["ours"] == 0
    assert made["autograd's"] > 0


def test_what_does_not_train_or_runs_in_another_type_is_left_alone() -> None:
    model = Tied()
    model.rows.weight.requires_grad_(False)
    with summed(model):
        assert [is_summed(layer) for layer in (model.rows, model.twice, model.head)] == [False, True, False]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert not is_summed(model.twice)
    hooked = Tied()
    hooked.twice.weight.register_hook(lambda gradient: 2 * gradient)
    with summed(hooked):
        assert not is_summed(hooked.twice)
    picky = torch.nn.Sequential(torch.nn.Embedding(4, 2, max_norm=1.0), torch.nn.Embedding(4, 2, sparse=True))
    with summed(picky):
        assert not any(is_summed(layer) for layer in picky)


def test_under_autocast_gradients_are_autograds() -> None:
    plain, ours = Tied().float(), Tied().float()
    with torch.autocast("cpu", dtype=torch.bfloat16), summed(ours):
        for ids in batches():
            learnt(plain, ids)
            learnt(ours, ids)
    for name, expected in gradients(plain).items():
        assert torch.equal(gradients(ours)[name], expected)


def test_layers_are_themselves_again_behind_the_block_even_when_it_failed() -> None:
    model = Tied()
    with pytest.raises(RuntimeError, match="mat1"), summed(model):
        model.twice(torch.zeros(2, 5, dtype=torch.float64))
    assert (type(model.rows), type(model.twice)) == (torch.nn.Embedding, torch.nn.Linear)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("adds", [False, True])
def test_quick_layers_are_the_same_layers(frozen, adds):
    """Large enough to be given to the other library, of any number of rows; alone, and where gradients are added up."""
    plain, ours = (torch.nn.Sequential(torch.nn.Linear(96, 160), torch.nn.Linear(160, 96)) for _ in range(2))
    ours.load_state_dict(plain.state_dict())
    for model in (plain, ours):
        model[0].requires_grad_(not frozen)
    for rows in (70, 300, 64):
        x, y = (drawn.requires_grad_() for drawn in torch.randn(2, 2, rows, 96).unbind())
        with torch.no_grad():
            y.copy_(x)
        plain(x).square().sum().backward()
        with quick(ours), summed(ours) if adds else nullcontext():
            assert is_plain(ours[0])
            assert (type(ours[0]) is not torch.nn.Linear) == (is_wide() or (adds and not frozen))
            ours(y).square().sum().backward()
        torch.testing.assert_close(y.grad, x.grad, rtol=1e-4, atol=1e-4)
    assert gradients(ours).keys() == gradients(plain).keys()
    for name, expected in gradients(plain).items():
        torch.testing.assert_close(gradients(ours)[name], expected, rtol=1e-4, atol=1e-3)
    assert type(ours[0]) is torch.nn.Linear


@pytest.mark.skipif(not is_wide(), reason="this CPU has no 512-bit registers, or no oneDNN")
def test_quick_layers_are_computed_by_the_other_library_and_in_their_own_type():
    layer = torch.nn.Linear(200, 300)
    for given, expected in ((torch.randn(100, 200), True), (torch.randn(100, 200).bfloat16(), False)):
        layer.to(given.dtype)
        with quick(layer), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
            assert layer(given).dtype == given.dtype
        assert ("_Product" in {event.name for event in seen.events()}) == expected


def test_what_comes_out_may_be_added_to_in_place() -> None:
    """As adapters of PEFT do, with rows that leave room and rows that do not."""
    layer = torch.nn.Linear(200, 300).requires_grad_(False)
    for rows in (70, 128):
        given = torch.randn(2, rows, 200, requires_grad=True)
        with quick(layer):
            found = layer(given)
            found += given.sum(dim=-1, keepdim=True)
            found.sum().backward()
        assert given.grad is not None
        torch.testing.assert_close(given.grad, (layer.weight.sum(0) + 300).expand_as(given), rtol=1e-4, atol=1e-3)


def test_layers_that_are_computed_again_add_to_the_same_sums() -> None:
    """Under gradient checkpointing what was saved comes back as other tensors than those that train."""
    plain, ours = Tied(), Tied()
    for ids in batches():
        learnt(plain, ids)
        with summed(ours):
            said = checkpoint(ours, ids, use_reentrant=False)
            torch.nn.functional.cross_entropy(said.flatten(0, 1), ids.flatten()).backward()
    assert gradients(ours).keys() == gradients(plain).keys()
    for name, expected in gradients(plain).items():
        torch.testing.assert_close(gradients(ours)[name], expected, rtol=1e-12, atol=1e-14)
