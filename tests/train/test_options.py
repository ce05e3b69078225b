"""Every option of training changes the run, and what a run prints about itself is true."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from metier.core.errors import SettingsError
from metier.core.settings import build
from metier.core.types import Reasoned
from metier.model.arithmetic import Rates
from metier.model.settings import ModelSettings
from metier.project import Project
from metier.train import choices
from metier.train.schedule import rate
from metier.train.settings import ScheduleSettings, TrainSettings
from tests.train.conftest import plan


def losses(run) -> list[float]:
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in entries if "loss" in entry]


def weights(run) -> dict[str, torch.Tensor]:
    name = "adapter_model.safetensors" if (run / "model" / "adapter_config.json").exists() else "model.safetensors"
    return load_file(str(run / "model" / name))


def test_the_seed_changes_the_order_and_nothing_else_is_random(run_to_end):
    first = run_to_end(plan(), "first")
    again = run_to_end(plan(), "again")
    other = run_to_end(plan(seed=1), "other")
    assert losses(first) == losses(again)
    assert all(torch.equal(weights(first)[key], value) for key, value in weights(again).items())
    assert losses(first) != losses(other)


def test_micro_batches_change_the_memory_not_the_run(run_to_end):
    one = run_to_end(plan(micro_batch_tokens=100_000), "one")
    many = run_to_end(plan(micro_batch_tokens=1), "many")
    assert losses(one) == pytest.approx(losses(many), rel=1e-5)


def test_gradient_checkpointing_gives_the_same_losses(run_to_end):
    plain = run_to_end(plan(), "plain")
    saving = run_to_end(plan({"gradient_checkpointing": True}), "saving")
    assert losses(plain) == pytest.approx(losses(saving), rel=1e-5)


def test_checks_and_checkpoint_every_say_when(run_to_end):
    few = run_to_end(plan(checks=2), "few")
    lines = [json.loads(line) for line in (few / "metrics.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in lines if "validation_loss" in entry] == [6, 12]
    names = [path.name for path in sorted((few / "checkpoints").glob("step-*"))]
    assert names == ["step-00000006", "step-00000012"]
    often = run_to_end(plan(checks=1, checkpoint_every=5), "often")
    names = [path.name for path in sorted((often / "checkpoints").glob("step-*"))]
    assert names == ["step-00000010", "step-00000012"]


def test_patience_stops_early_and_the_best_weights_are_kept(run_to_end):
    hot = {"learning_rate": 0.3, "schedule": {"shape": "constant", "warmup": 0.0}, "max_steps": 40, "checks": 20}
    run = run_to_end(plan(patience=2, **hot), "hot")
    summary = json.loads((run / "summary.json").read_text())
    assert summary["stopped_early"]
    assert summary["steps"] < 40
    checks = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    validation = {entry["step"]: entry["validation_loss"] for entry in checks if "validation_loss" in entry}
    assert summary["best_validation_loss"] == min(validation.values())
    best = load_file(str(run / "checkpoints" / f"step-{summary['best_step']:08d}" / "trained.safetensors"))
    saved = weights(run)
    assert all(torch.equal(saved[name], tensor) for name, tensor in best.items())
    patient = run_to_end(plan(patience=None, **hot), "patient")
    assert json.loads((patient / "summary.json").read_text())["steps"] == 40
    until = {"max_steps": summary["steps"], "checks": summary["steps"] // 2}
    ended = json.loads((run_to_end(plan(patience=2, **(hot | until)), "ended") / "summary.json").read_text())
    assert (ended["steps"], ended["best_step"]) == (summary["steps"], summary["best_step"]), "the same steps"
    assert not ended["stopped_early"], "patience that ends with the run"


def test_threads_are_what_was_set(run_to_end):
    run = run_to_end(plan(threads=1), "one-thread")
    assert json.loads((run / "summary.json").read_text())["threads"] == 1


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"schedule": "linear"}, "train.schedule: is train.schedule.shape now"),
        ({"final_rate": 0.1}, "train.final_rate: is train.schedule.final_rate now"),
        ({"warmup": 0.1}, "train.warmup: is train.schedule.warmup now"),
        ({"weight_decay": 0.1}, "train.weight_decay: is train.optimiser.weight_decay now"),
        ({"betas": [0.9, 0.9]}, "train.betas: is train.optimiser.betas now"),
        ({"clip": 1}, "train.clip: is train.optimiser.clip now"),
    ],
)
def test_a_setting_that_has_moved_is_refused_with_its_new_place(before, now):
    with pytest.raises(SettingsError) as caught:
        build(Project, {"base": "b", "data": "d", "train": before}, "metier.yaml")
    assert str(caught.value) == f"metier.yaml: {now}"


@pytest.mark.parametrize("name", ["cosine", "linear", "constant"])
def test_schedules_warm_up_and_end_where_they_should(name):
    settings = ScheduleSettings(shape=name, warmup=0.1, final_rate=0.2)
    rates = [rate(step, 100, 1.0, settings) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert max(rates) == 1.0
    assert rates[-1] == pytest.approx(1.0 if name == "constant" else 0.2)
    middle = {"cosine": 0.6, "linear": 0.6, "constant": 1.0}[name]
    assert rates[55] == pytest.approx(middle, abs=0.02)


FAST = Rates(float32=100, bfloat16=210, int8=430)
"""A CPU with bfloat16 and VNNI instructions, as measured."""
SLOW = Rates(float32=115, bfloat16=25, int8=414)
"""A CPU with VNNI only, as measured."""


def precision(asked: str = "auto", *, width: int = 4096, rates: Rates = FAST, **kept: str) -> Reasoned:
    settings, cpu = ModelSettings.model_validate({"precision": asked}), torch.device("cpu")
    return choices.precision(settings, cpu, width=width, kept=kept, measure=lambda: rates)


def test_bfloat16_is_chosen_where_it_was_measured_to_be_faster():
    assert precision().value == "bfloat16"
    assert "2.1×" in precision().reason
    slow = precision(rates=SLOW)
    assert (slow.value, "0.2×" in slow.reason) == ("float32", True)
    assert precision(width=192).value == "float32"


def test_a_run_keeps_the_precision_it_began_with(tmp_path):
    assert choices.kept(tmp_path) == {}
    (tmp_path / "choices.json").write_text(json.dumps([{"name": "model.precision", "value": "float32", "reason": ""}]))
    kept = choices.kept(tmp_path)
    chosen = precision(**kept)
    assert (chosen.value, chosen.reason) == ("float32", "as this run began")
    assert precision("bfloat16", width=1, **kept).value == "bfloat16"


def test_a_quantised_base_says_what_it_brings_here():
    int8 = ModelSettings(quantise="int8")
    assert "3.6× as fast as float32" in choices.quantise(int8, lambda: SLOW).reason
    assert "saves memory" not in choices.quantise(int8, lambda: FAST).reason
    even = Rates(float32=100, bfloat16=300, int8=310)
    assert "3.0× in bfloat16: it saves memory, not much time" in choices.quantise(int8, lambda: even).reason
    assert "memory" in choices.quantise(ModelSettings(quantise="nf4"), lambda: FAST).reason


def test_a_quantised_base_changes_the_run_and_is_recorded(run_to_end):
    exact = run_to_end(plan({"method": "lora"}), "exact")
    run = run_to_end(plan({"method": "lora", "quantise": "int8"}), "int8")
    assert losses(exact) != losses(run)
    assert losses(run) == pytest.approx(losses(exact), rel=0.05)
    manifest = json.loads((run / "model" / "manifest.json").read_text())
    assert manifest["facts"]["quantise"] == "int8"
    assert "model.quantise" in [choice["name"] for choice in json.loads((run / "choices.json").read_text())]


def test_derived_values_come_with_their_reason():
    automatic = TrainSettings()
    assert choices.epochs(automatic, 500, plain_text=False).value == 7.0
    assert choices.epochs(automatic, 100_000, plain_text=False).value == 3.0
    assert choices.epochs(automatic, 500, plain_text=True).value == 1.0
    assert choices.learning_rate(automatic, "lora", 1_000_000_000).value == 2e-4
    assert choices.learning_rate(automatic, "full", 1_000_000_000).value == 2e-5
    assert choices.learning_rate(automatic, "prompt", 1_000_000_000).value == 3e-2
    set_by_hand = TrainSettings(epochs=7, learning_rate=0.5, threads=3)
    for choice in (
        choices.epochs(set_by_hand, 500, plain_text=False),
        choices.learning_rate(set_by_hand, "full", 1),
        choices.threads(set_by_hand),
        precision("float32"),
    ):
        assert isinstance(choice, Reasoned)
        assert choice.reason == "as set"


def test_a_multiplier_is_a_factor_on_what_would_be_chosen_otherwise():
    twice = {"schedule": {"multiplier": 3}}
    ruled = choices.learning_rate(TrainSettings.model_validate(twice), "lora", 1_000_000_000)
    assert ruled.value == 6e-4
    assert ruled.reason == ("LoRA on 1000.0 million parameters: 0.0002; times 3, as train.schedule.multiplier says")
    given = choices.learning_rate(TrainSettings.model_validate(twice | {"learning_rate": 0.1}), "lora", 1)
    assert (given.value, given.reason) == (0.3, "as set: 0.1; times 3, as train.schedule.multiplier says")
    searched = choices.learning_rate(TrainSettings.model_validate(twice | {"learning_rate": "auto"}), "lora", 1)
    assert searched.value == 2e-3, "what a search begins with"


def test_the_machine_says_how_many_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert choices.threads(TrainSettings()).value == 5
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert choices.threads(TrainSettings()).value >= 1


def test_bfloat16_changes_the_arithmetic_a_little(run_to_end):
    exact = losses(run_to_end(plan(), "exact"))
    rough = losses(run_to_end(plan({"precision": "bfloat16"}), "rough"))
    assert exact != rough
    assert rough == pytest.approx(exact, rel=0.05)


def test_training_learns(run_to_end):
    run = run_to_end(plan(max_steps=60, learning_rate=1e-2), "learning")
    curve = losses(run)
    assert math.fsum(curve[-5:]) / 5 < 0.5 * curve[0]


def test_a_random_base_trains_whole_or_not_at_all(tiny_base, tiny_snapshot, tmp_path):
    from metier.core.progress import Silent
    from metier.model.find import find_config
    from metier.train.run import train

    base = find_config(str(tiny_base), tiny_base)
    with pytest.raises(SettingsError, match="random weights"):
        train(
            tiny_snapshot, base, run=tmp_path / "s" / "runs" / "r", settings=plan({"method": "lora"}), progress=Silent()
        )
