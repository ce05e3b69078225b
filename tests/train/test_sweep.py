"""A sweep finds the better settings, goes on where it stopped, and says what it did."""

import json
import math
import os
import shlex
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from metier.core import artefact, extras
from metier.core.errors import DataError, InterruptedRun, MissingExtraError, RunError, SettingsError
from metier.core.progress import Silent
from metier.core.settings import build, parse_overrides
from metier.model.find import find
from metier.project import Project
from metier.train.sweep import search as searching
from metier.train.sweep import trial as trials
from metier.train.sweep.bench import Bench
from metier.train.sweep.halving import checks, ranked, rung_steps, widths
from metier.train.sweep.report import recipe, report
from metier.train.sweep.space import Choice, Range, lay, read, take_out
from tests.train.conftest import plan, planted_snapshot
from tests.train.sweeping import STEPS, Workshop, small

GOOD, BAD, WORSE = 1e-2, 1e-6, 30.0
RATES = {"train.learning_rate": [BAD, WORSE, GOOD]}


@pytest.fixture
def swept(tiny_base, tiny_snapshot, tmp_path) -> Workshop:
    return Workshop(tiny_base, tiny_snapshot, tmp_path)


def told(result: Path) -> list[dict]:
    """Return the trials of a finished sweep without their seconds."""
    entries = json.loads((result / "sweep.json").read_text())["trials"]
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in entries]


def test_halving_keeps_the_better_of_planted_rates(swept):
    result = swept(small(over=RATES), settings_of_run=plan(max_steps=STEPS, learning_rate=BAD))
    found = told(result)
    assert found[0]["settings"] == {"train.learning_rate": GOOD}
    assert found[0]["steps"] == STEPS
    assert all(entry["steps"] < STEPS for entry in found if entry["settings"]["train.learning_rate"] == WORSE)
    assert recipe(result) == "train:\n  learning_rate: 0.01\n"
    assert report(result).verdict.good


def test_a_trial_over_rungs_is_bit_identical_to_a_training_in_one_go(swept, run_to_end, monkeypatch):
    monkeypatch.setattr(searching, "_clear", lambda folder: None)
    over = {"train.learning_rate": [GOOD, BAD], "model.rank": [2, 4]}
    lora = {"method": "lora", "rank": 8}
    result = swept(
        small(over=over, reduction=3), settings_of_run=plan(lora, max_steps=STEPS, learning_rate=BAD, checks=3)
    )
    best = told(result)[0]
    assert best["steps"] == STEPS
    assert best["settings"]["model.rank"] != 8
    rank = best["settings"]["model.rank"]
    whole = run_to_end(
        plan(lora | {"rank": rank}, max_steps=STEPS, checks=3, learning_rate=best["settings"]["train.learning_rate"])
    )
    place = result.parent / "trials" / f"{best['number']:03d}"
    for name in ("trained.safetensors", "optimiser.safetensors"):
        there = load_file(str(place / "checkpoints" / f"step-{STEPS:08d}" / name))
        here = load_file(str(whole / "checkpoints" / f"step-{STEPS:08d}" / name))
        assert there.keys() == here.keys()
        assert all(torch.equal(there[key], here[key]) for key in here)


class StopAfter(Silent):
    """Asks this process to stop when so many trials have moved."""

    def __init__(self, moves: int) -> None:
        self.moves = moves

    def task(self, name, total, done=0):
        return super().task(name, total, done) if name != "sweep" else Stopping(self.moves)


class Stopping:
    def __init__(self, moves: int) -> None:
        self.left = moves

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None

    def advance(self, count=1, facts=None):
        self.left -= count
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("moves", [1, 3, 5])
def test_a_killed_sweep_goes_on_and_gives_the_same_report(swept, moves):
    settings = small(over={"train.learning_rate": "1e-4..1e-1"})
    whole = swept(settings, "whole")
    with pytest.raises(KeyboardInterrupt):
        swept(settings, "killed", StopAfter(moves))
    assert told(swept(settings, "killed")) == told(whole)


def test_a_stop_request_inside_a_trial_is_heard_and_the_sweep_goes_on(swept, monkeypatch):
    settings = small(over={"train.learning_rate": "1e-4..1e-1"})
    whole = swept(settings, "whole")
    honest = trials.advance
    calls = []

    def stopped(fit, start, rung, until):
        calls.append(rung)
        if len(calls) == 2:
            fit.order.step = _kill_at(fit.order.step, 1)
        return honest(fit, start, rung, until)

    monkeypatch.setattr(searching, "advance", stopped)
    with pytest.raises(InterruptedRun):
        swept(settings, "stopped")
    monkeypatch.setattr(searching, "advance", honest)
    assert told(swept(settings, "stopped")) == told(whole)


def _kill_at(original, at):
    def step(number):
        if number == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(number)

    return step


def test_a_finished_sweep_is_not_run_again_and_leaves_no_weights(swept):
    result = swept(small(over=RATES))
    before = (result / "sweep.json").stat().st_mtime_ns
    assert swept(small(over=RATES)) == result
    assert (result / "sweep.json").stat().st_mtime_ns == before
    assert not list(result.parent.rglob("*.safetensors"))
    assert artefact.verify(result, "sweep").files.keys() == {"sweep.json", "report.html", "report.md"}


CHANGES = {
    "over": {"over": {"train.optimiser.weight_decay": [0.0, 3.0]}},
    "trials": {"trials": 3},
    "rungs": {"rungs": 1},
    "reduction": {"reduction": 4},
    "sampler": {"sampler": "random"},
    "sobol": {"sampler": "sobol"},
}


def test_every_setting_of_a_sweep_changes_its_outcome(swept):
    free = {"train.learning_rate": "1e-5..1e-1"}
    outcomes = [told(swept(small(over=free), "default"))]
    for name, change in CHANGES.items():
        outcome = told(swept(small(**({"over": free} | change)), name))
        assert outcome not in outcomes, name
        outcomes.append(outcome)


def test_nothing_to_search_means_the_learning_rate_around_its_rule(swept):
    result = swept(small(trials=3))
    rates = [entry["settings"]["train.learning_rate"] for entry in told(result)]
    assert 1e-3 in rates
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    figures = [figure.title for figure in report(result).figures]
    assert figures == ["Loss over learning rate", "Validation loss"]


def beginning(trials: list[dict], rate: float) -> list:
    """Validation losses of the trial at a rate, as far as every trial goes."""
    return next(entry["curve"][:2] for entry in trials if entry["settings"]["train.learning_rate"] == rate)


def test_a_multiplier_stays_outside_of_what_is_searched(swept):
    """What comes out is what to write into metier.yaml, where the multiplier stands already: it multiplies once."""
    twice = plan(max_steps=STEPS, schedule={"multiplier": 2})
    doubled = told(swept(small(over={"train.learning_rate": [2e-3, 4e-3]}), "doubled", settings_of_run=twice))
    alone = told(swept(small(over={"train.learning_rate": [4e-3, 8e-3]}), "alone"))
    for rate in (2e-3, 4e-3):
        assert beginning(doubled, rate) == beginning(alone, 2 * rate)
    around = told(swept(small(trials=2), "around", settings_of_run=twice))
    assert 1e-3 in [entry["settings"]["train.learning_rate"] for entry in around], "the rule, without the factor"


def test_the_base_is_loaded_once_and_adapted_anew_in_place(tiny_base, tiny_snapshot, tmp_path):
    base = find(str(tiny_base), tiny_base)
    folder = tmp_path / ".metier" / "sweeps" / "s"
    material = searching.gather(tiny_snapshot, base, folder, plan(), Silent())
    bench = Bench(base, material, folder, Silent())
    fresh = {}
    for name, model in (("full", {}), ("two", {"rank": 2, "method": "lora"}), ("four", {"rank": 4, "method": "lora"})):
        fit, _ = Bench(base, material, folder, Silent()).take(plan(model, max_steps=2), folder / f"fresh-{name}", 1)
        fit.run_folder.mkdir(parents=True)
        fit.run(Silent())
        fresh[name] = {key: value.clone() for key, value in fit.model.state_dict().items()}
    for turn, (name, model) in enumerate(
        [("two", {"rank": 2, "method": "lora"}), ("full", {}), ("four", {"rank": 4, "method": "lora"}), ("full", {})]
    ):
        fit, _ = bench.take(plan(model, max_steps=2), folder / f"turn-{turn}", 1)
        fit.run_folder.mkdir(parents=True)
        fit.run(Silent())
        after = fit.model.state_dict()
        assert after.keys() == fresh[name].keys()
        assert all(torch.equal(after[key], fresh[name][key]) for key in after)
    assert bench.loads == 1
    bench.take(plan({"precision": "bfloat16"}), folder / "other", 1)
    assert bench.loads == 2


def test_trials_that_all_fail_are_an_error_and_one_that_fails_is_told(swept):
    huge = {"learning_rate": 1e30, "schedule": {"warmup": 0.0}, "guard": {"on_spike": "stop"}}
    result = swept(small(over={"train.learning_rate": [1e30, GOOD]}), settings_of_run=plan(max_steps=STEPS, **huge))
    found = told(result)
    assert found[0]["settings"]["train.learning_rate"] == GOOD
    assert any(entry["failed"] for entry in found)
    assert "failed" in (result / "report.md").read_text()
    with pytest.raises(RunError, match="every trial failed"):
        swept(
            small(over={"train.optimiser.weight_decay": [0.0, 0.1]}),
            "all",
            settings_of_run=plan(max_steps=STEPS, **huge),
        )


def test_one_that_fails_late_leaves_its_place_to_the_next(tiny_base, tmp_path, tmp_path_factory):
    """Both are alike until a planted row of the last rung, over which the first of them stops."""
    guard = {"threshold": 0.5, "window": 5, "on_spike": "stop"}
    project = plan(seed=11, learning_rate=1e-2, schedule={"warmup": 0.0}, max_steps=8, guard=guard)
    workshop = Workshop(tiny_base, planted_snapshot(tmp_path_factory), tmp_path)
    result = workshop(small(over={"train.guard.on_spike": ["stop", "skip"]}, trials=2), settings_of_run=project)
    best, other = told(result)
    assert (best["settings"], best["steps"], best["failed"]) == ({"train.guard.on_spike": "skip"}, 8, "")
    assert (other["settings"], other["rung"]) == ({"train.guard.on_spike": "stop"}, 1)
    assert "after a median of" in other["failed"]
    assert "failed" in (result / "report.md").read_text()
    assert recipe(result) == "train:\n  guard:\n    on_spike: skip\n"


def test_settings_that_exclude_one_another_fail_alone_and_the_project_itself_is_refused(swept):
    over = {"train.optimiser.name": ["adamw", "schedule-free", "sgd"], "train.schedule.shape": ["cosine", "linear"]}
    project = plan(max_steps=STEPS, schedule={"shape": "cosine"}, learning_rate=None)
    result = swept(small(over=over, trials=7), settings_of_run=project)
    failed = [entry for entry in told(result) if entry["failed"]]
    assert {entry["settings"]["train.optimiser.name"] for entry in failed} == {"schedule-free"}
    assert len(failed) == 2
    assert all("with train.optimiser.name schedule-free" in entry["failed"] for entry in failed)
    assert len(told(result)) == 6
    wrong = plan(max_steps=STEPS, optimiser={"name": "schedule-free"}, schedule={"shape": "cosine"})
    with pytest.raises(SettingsError, match="schedule-free"):
        swept(small(over=over), "wrong", settings_of_run=wrong)


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"train.learnin_rate": [1, 2]}, "did you mean 'train.learning_rate'?"),
        ({"learning_rate": [1, 2]}, "did you mean 'train.learning_rate'?"),
        ({"train.threads": [1, 2]}, "cannot be searched"),
        ({"model.rank": [8]}, "at least two"),
        ({"model.rank": [8, "many"]}, "valid integer"),
        ({"model.rank": [8, 0]}, "greater than or equal to 1"),
        ({"train.learning_rate": "high"}, "a range such as"),
        ({"train.learning_rate": "1e-2..1e-4"}, "a range such as"),
        ({"train.learning_rate": "-1..1"}, "greater than 0"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_words(over, said):
    with pytest.raises(SettingsError, match=said.replace("?", r"\?")):
        build(Project, {"base": "b", "data": "d", "sweep": {"over": over}}, "metier.yaml")


def test_the_space_is_understood():
    axes = read({"train.learning-rate": "1e-4..1e-2", "model.rank": "8..16", "model.targets": [["q_proj"], ["v_proj"]]})
    assert axes["train.learning_rate"] == Range(low=1e-4, high=1e-2, log=True)
    assert axes["model.rank"] == Range(low=8, high=16, log=False, whole=True)
    assert axes["model.targets"] == Choice(values=(["q_proj"], ["v_proj"]))
    laid = lay(plan(), {"train.optimiser.betas": [0.8, 0.9], "model.rank": 3})
    assert laid.train.optimiser.betas == (0.8, 0.9)
    assert laid.model.rank == 3


def test_lists_and_ranges_of_the_command_line_are_searched_and_values_are_set():
    words = ["--train.learning-rate", "1e-4..1e-2", "--train.epochs", "2", "--model.rank=[8,16]"]
    words += ["--model.targets", "[q_proj, v_proj]", "--train.optimiser.betas", "[[0.9, 0.99], [0.8, 0.9]]"]
    rest, over = take_out(words)
    assert rest == ["--train.epochs", "2", "--model.targets", "[q_proj, v_proj]"]
    assert over == {
        "train.learning_rate": "1e-4..1e-2",
        "model.rank": [8, 16],
        "train.optimiser.betas": [[0.9, 0.99], [0.8, 0.9]],
    }


def test_rungs_and_survivors():
    assert rung_steps(90, 3, 3) == [10, 30, 90]
    assert rung_steps(5, 3, 3) == [1, 2, 5]
    assert checks(3, 3, 10) == 9
    assert checks(1, 3, 10) == 10
    assert ranked({0: 3.0, 1: 1.0, 2: 2.0, 3: math.inf}) == [1, 2, 0]
    assert ranked({0: math.inf}) == []
    assert widths(9, 3, 3) == [9, 3, 1]
    assert widths(4, 3, 3) == [4, 2, 1]


def test_the_command_that_is_recommended_says_what_was_tried_in_full(swept):
    over = {"train.learning_rate": [0.0123456789, 1e-9], "model.targets": [["q_proj", "v_proj"], ["k_proj"]]}
    lora = plan({"method": "lora", "rank": 2}, max_steps=STEPS, learning_rate=1e-9)
    result = swept(small(over=over, trials=5), settings_of_run=lora)
    command = report(result).command
    words = shlex.split(command)
    assert words[:2] == ["metier", "run"]
    given = build(Project, {"base": "b", "data": "d"} | parse_overrides(words[2:]), "command line")
    assert given.train.learning_rate == 0.0123456789
    point = json.loads((result / "sweep.json").read_text())["trials"][0]["point"]
    assert list(given.model.targets or ()) == point["model.targets"]


def test_a_missing_sampler_library_says_which_line_installs_it(swept, monkeypatch):
    monkeypatch.setitem(extras.EXTRAS, "sweep", ("optuna_that_is_not_there",))
    with pytest.raises(MissingExtraError, match=r"pip install 'metier\[sweep\]'"):
        swept(small())


def test_a_sweep_that_would_propose_other_trials_is_not_continued(swept):
    settings = small(over={"train.learning_rate": "1e-4..1e-1"})
    with pytest.raises(KeyboardInterrupt):
        swept(settings, "changed", StopAfter(2))
    path = swept.store / "sweeps" / "changed" / "trials" / "001" / "point.json"
    path.write_text(path.read_text().replace("train.learning_rate", "train.epochs"))
    with pytest.raises(DataError, match="began with"):
        swept(settings, "changed")
