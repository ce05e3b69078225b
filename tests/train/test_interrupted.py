"""Every way of updating weights goes on after an interruption to the same bits; its state comes back bit by bit."""

import dataclasses
import signal
from importlib.util import find_spec
from typing import Any

import pytest
import torch

from metier.core.errors import InterruptedRun
from metier.model.adapt import adapt
from metier.model.find import find
from metier.model.load import load_base
from metier.model.settings import ModelSettings
from metier.train import checkpoint
from metier.train.checkpoint import Place
from metier.train.optimisers.build import build
from metier.train.optimisers.optimiser import Optimiser
from metier.train.settings import OptimiserSettings, RegulariseSettings
from tests.train.conftest import EVERY_OPTIMISER, plan
from tests.train.test_kill import fingerprint
from tests.train.test_resume import StopAt

LORA = {"method": "lora", "rank": 4, "dropout": 0.1}
needs_schedulefree = pytest.mark.skipif(find_spec("schedulefree") is None, reason="pip install 'metier[schedule-free]'")
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "muon on lora": (LORA, {"optimiser": {"name": "muon"}}),
    "lora+": (LORA, {"optimiser": {"lora_plus_ratio": 8}}),
    "neftune": ({}, {"regularise": {"neftune_alpha": 5}}),
    "smoothing": ({}, {"regularise": {"label_smoothing": 0.1}}),
    "ema": ({}, {"regularise": {"ema": 0.9}}),
    "l2": ({}, {"regularise": {"l2_to_base": 5}}),
    "kl": ({}, {"regularise": {"kl_to_base": 1}}),
    "kl on lora": (LORA, {"regularise": {"kl_to_base": 1}}),
    "replay": ({}, {"regularise": {"replay": 0.25}}),
}


@pytest.mark.parametrize("name", [*EVERY_OPTIMISER, *WAYS])
def test_an_interrupted_run_ends_with_the_same_bits(name, run_to_end):
    model, settings = WAYS.get(name, ({}, {"optimiser": {"name": name}}))
    short = plan(model, max_steps=6, checks=1, **settings)
    whole = run_to_end(short, "whole")
    with pytest.raises(InterruptedRun):
        run_to_end(short, "cut", StopAt(3, signal.SIGTERM))
    assert fingerprint(run_to_end(short, "cut")) == fingerprint(whole)


def started(base, name: str = "adamw", **regularise: Any) -> tuple[torch.nn.Module, Optimiser]:
    model = load_base(find(str(base), base), device=torch.device("cpu")).requires_grad_(True)
    return model, build(model, OptimiserSettings(name=name), RegulariseSettings(**regularise))


def steps(optimiser: Optimiser, count: int, seed: int) -> None:
    torch.manual_seed(seed)
    for _ in range(count):
        optimiser.set_rate(1e-2)
        for weight in optimiser.weights.values():
            weight.grad = torch.randn_like(weight)
        optimiser.step()


def bits(optimiser: Optimiser) -> list[bytes]:
    return [weight.detach().numpy().tobytes() for weight in optimiser.weights.values()]


@pytest.mark.parametrize("name", EVERY_OPTIMISER)
def test_a_state_comes_back_bit_by_bit(name, tiny_base, tmp_path):
    averaged = {} if name == "schedule-free" else {"ema": 0.9}
    _, first = started(tiny_base, name, **averaged)
    steps(first, 3, seed=0)
    checkpoint.save(tmp_path, first, Place(step=3, recent_losses=(0.1, 1 / 3), rate_share=0.3))
    _, second = started(tiny_base, name, **averaged)
    steps(second, 1, seed=5)  # what was there before must go
    place = checkpoint.load(checkpoint.folder(tmp_path, 3), second)
    assert dataclasses.replace(place) == Place(step=3, recent_losses=(0.1, 1 / 3), rate_share=0.3)
    assert bits(second) == bits(first)
    for optimiser in (first, second):
        steps(optimiser, 2, seed=1)
    assert bits(second) == bits(first)
    with first.judged(), second.judged():
        assert bits(second) == bits(first)


@needs_schedulefree
def test_a_lost_figure_of_the_state_would_be_seen(tiny_base, tmp_path):
    """The planted fault: schedule-free whose weights come back but whose running sums do not."""
    _, first = started(tiny_base, "schedule-free")
    steps(first, 3, seed=0)
    checkpoint.save(tmp_path, first, Place(step=3))
    _, second = started(tiny_base, "schedule-free")
    checkpoint.load(checkpoint.folder(tmp_path, 3), second)
    second.param_groups[0]["weight_sum"] = 0.0
    for optimiser in (first, second):
        steps(optimiser, 1, seed=1)
    assert bits(second) != bits(first)


@pytest.mark.parametrize(
    ("name", "regularise"),
    [pytest.param("schedule-free", {}, marks=needs_schedulefree), ("adamw", {"ema": 0.9}), ("adamw", {})],
)
def test_looking_at_the_judged_weights_changes_nothing(name, regularise, tiny_base):
    _, optimiser = started(tiny_base, name, **regularise)
    steps(optimiser, 3, seed=0)
    before = bits(optimiser)
    with optimiser.judged():
        inside = bits(optimiser)
    assert bits(optimiser) == before
    assert (inside != before) is optimiser.averages
    steps(optimiser, 1, seed=1)
    _, undisturbed = started(tiny_base, name, **regularise)
    steps(undisturbed, 3, seed=0)
    steps(undisturbed, 1, seed=1)
    assert bits(optimiser) == bits(undisturbed)


def test_lora_plus_gives_the_matrices_b_their_own_rate(tiny_base):
    base = find(str(tiny_base), tiny_base)
    model = adapt(load_base(base), base, "lora", ModelSettings(method="lora"), seed=0)
    optimiser = build(model, OptimiserSettings(lora_plus_ratio=16), RegulariseSettings())
    optimiser.set_rate(1e-3)
    rates = {id(weight): group["lr"] for group in optimiser.param_groups for weight in group["params"]}
    for name, weight in optimiser.weights.items():
        assert rates[id(weight)] == pytest.approx(1.6e-2 if "lora_B" in name else 1e-3)
