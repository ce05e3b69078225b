"""Optimisers: each learns, each treats the weights that it is meant for, contradictions are refused."""

import json
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file

from metier.core.errors import SettingsError
from metier.model.find import find
from metier.model.load import load_base
from metier.train import choices
from metier.train.optimisers.build import OPTIMISERS, build
from metier.train.settings import OptimiserSettings, RegulariseSettings, TrainSettings
from tests.train.conftest import EVERY_OPTIMISER, plan


@pytest.fixture
def model(tiny_base):
    return load_base(find(str(tiny_base), tiny_base), device=torch.device("cpu")).requires_grad_(True)


@pytest.mark.parametrize("name", EVERY_OPTIMISER)
def test_each_learns_at_the_rate_chosen_for_it(name, run_to_end):
    run = run_to_end(plan(max_steps=20, checks=1, optimiser={"name": name}), name)
    losses = [json.loads(line).get("loss") for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert losses[19] < 0.9 * losses[0]
    chosen = {choice["name"]: choice for choice in json.loads((run / "choices.json").read_text())}
    assert ("that of AdamW" in chosen["train.learning_rate"]["reason"]) is (not name.startswith("adamw"))


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="pip install 'metier[adamw-8bit]'")
def test_eight_bits_are_eight_bits(run_to_end):
    run = run_to_end(plan(max_steps=2, optimiser={"name": "adamw-8bit"}))
    state = load_file(str(run / "checkpoints" / "step-00000002" / "optimiser.safetensors"))
    assert state["state1/model.embed_tokens.weight"].dtype == torch.uint8
    assert state["state2/model.embed_tokens.weight"].dtype == torch.uint8


def test_muon_takes_the_matrices_of_hidden_layers(model):
    muon, adamw = build(model, OptimiserSettings(name="muon"), RegulariseSettings()).parts
    names = {id(weight): name for name, weight in model.named_parameters()}
    orthogonal = {names[id(weight)] for group in muon.param_groups for weight in group["params"]}
    others = {names[id(weight)] for group in adamw.param_groups for weight in group["params"]}
    assert orthogonal == {name for name in names.values() if ".layers." in name and "norm" not in name}
    assert "model.embed_tokens.weight" in others
    assert muon.defaults["momentum"] == 0.95
    assert build(model, OptimiserSettings(name="muon", momentum=0.8), RegulariseSettings()).parts[0].defaults[
        "momentum"
    ] == pytest.approx(0.8)


def test_what_contradicts_itself_is_refused(model):
    for settings, regularise in (
        ({"name": "schedule-free"}, {"ema": 0.9}),
        ({"name": "schedule-free"}, {"l2_to_base": 1.0}),
        ({"lora_plus_ratio": 4}, {}),
    ):
        with pytest.raises(SettingsError, match=r"train\.optimiser"):
            build(model, OptimiserSettings(**settings), RegulariseSettings(**regularise))
    for weight in model.parameters():
        weight.requires_grad_(weight.ndim == 1)
    with pytest.raises(SettingsError, match="matrices in hidden layers"):
        build(model, OptimiserSettings(name="muon"), RegulariseSettings())


def test_schedule_free_takes_no_schedule():
    free = {"name": "schedule-free"}
    assert choices.shape(TrainSettings(optimiser=free)).value == "constant"
    assert choices.shape(TrainSettings()).value == "cosine"
    assert choices.shape(TrainSettings(schedule={"shape": "linear"})).reason == "as set"
    with pytest.raises(SettingsError, match="schedule-free"):
        choices.shape(TrainSettings(optimiser=free, schedule={"shape": "cosine"}))


def test_rates_follow_from_the_optimiser():
    rates = {
        name: choices.learning_rate(TrainSettings(optimiser={"name": name}), "full", 1_000_000).value
        for name in OPTIMISERS
    }
    assert rates == {
        "adamw": 1e-3,
        "adamw-8bit": 1e-3,
        "muon": 1e-3,
        "adafactor": 1e-2,
        "sgd": 0.1,
        "schedule-free": 2e-3,
    }


def test_decay_is_for_matrices_only(model):
    (adamw,) = build(model, OptimiserSettings(weight_decay=0.3), RegulariseSettings()).parts
    for group in adamw.param_groups:
        assert group["weight_decay"] == (0.3 if group["params"][0].ndim >= 2 else 0.0)


def test_every_name_has_its_optimiser():
    assert list(OPTIMISERS) == [param.values[0] for param in EVERY_OPTIMISER]
