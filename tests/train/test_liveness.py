"""Every setting of training, however deep, changes the run: a setting without an entry here fails."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from metier.core.settings import Settings, model_in
from metier.score.graders.settings import JudgeSettings
from metier.train.reinforcing.settings import ReinforceSettings
from metier.train.settings import PreferSettings, TrainSettings
from tests.train.conftest import plan, planted_snapshot
from tests.train.test_guard import FAST

Entry = tuple[dict[str, Any], str]

GUARDED: dict[str, Any] = FAST | {"max_steps": 14, "guard": {"threshold": 0.5, "window": 5}}
"""Steps over the planted rows, in three of which the guard finds something, twice in a row."""


def guarded(**guard: Any) -> dict[str, Any]:
    return GUARDED | {"guard": GUARDED["guard"] | guard}


CHANGES: dict[str, Entry] = {
    "epochs": ({"epochs": 0.5, "max_steps": None}, "weights"),
    "max_steps": ({"max_steps": 5}, "weights"),
    "rows_per_step": ({"rows_per_step": 4}, "weights"),
    "micro_batch_tokens": ({"micro_batch_tokens": 1}, "weights"),
    "learning_rate": ({"learning_rate": 5e-3}, "weights"),
    "schedule.shape": ({"schedule": {"shape": "constant"}}, "weights"),
    "schedule.final_rate": ({"schedule": {"final_rate": 0.9}}, "weights"),
    "schedule.warmup": ({"schedule": {"warmup": 0.5}}, "weights"),
    "schedule.multiplier": ({"schedule": {"multiplier": 2}}, "weights"),
    "optimiser.name": ({"optimiser": {"name": "sgd"}}, "weights"),
    "optimiser.weight_decay": ({"optimiser": {"weight_decay": 0.5}}, "weights"),
    "optimiser.betas": ({"optimiser": {"betas": (0.5, 0.9)}}, "weights"),
    "optimiser.momentum": ({"optimiser": {"name": "sgd", "momentum": 0.5}}, "weights"),
    "optimiser.clip": ({"optimiser": {"clip": 0.01}}, "weights"),
    "optimiser.lora_plus_ratio": ({"optimiser": {"lora_plus_ratio": 16}}, "weights"),
    "regularise.neftune_alpha": ({"regularise": {"neftune_alpha": 5}}, "weights"),
    "regularise.label_smoothing": ({"regularise": {"label_smoothing": 0.1}}, "weights"),
    "regularise.ema": ({"regularise": {"ema": 0.9}}, "weights"),
    "regularise.l2_to_base": ({"regularise": {"l2_to_base": 10}}, "weights"),
    "regularise.kl_to_base": ({"regularise": {"kl_to_base": 1}}, "weights"),
    "regularise.replay": ({"regularise": {"replay": 0.25}}, "weights"),
    "regularise.replay_file": ({"regularise": {"replay": 0.25, "replay_file": "FILE"}}, "weights"),
    "guard.on_spike": (guarded(on_spike="lower_rate"), "weights"),
    "guard.threshold": (guarded(threshold=None), "weights"),
    "guard.window": (guarded(window=50), "weights"),
    "guard.lower_by": (guarded(on_spike="lower_rate", lower_by=0.1), "weights"),
    "guard.most_in_a_row": (guarded(most_in_a_row=1), "error"),
    "checks": ({"checks": 2}, "log"),
    "patience": ({"patience": 1, "learning_rate": 0.3, "schedule": {"warmup": 0.0}, "checks": 12}, "log"),
    "check.metrics": ({"check": {"metrics": ["exact_match"]}}, "log"),
    "check.best": ({"check": {"best": "word_f1"}}, "log"),
    "check.rows": ({"check": {"metrics": ["ended"], "rows": 1}}, "log"),
    "check.every": ({"check": {"metrics": ["ended"], "every": 2}}, "log"),
    "check.loss_rows": ({"check": {"loss_rows": 1}}, "log"),
    "check.steps": ({"check": {"steps": 5}}, "log"),
    "check.max_new_tokens": ({"check": {"metrics": ["ended"], "max_new_tokens": 1}, "learning_rate": 2e-2}, "log"),
    "check.keep_epochs": ({"check": {"keep_epochs": 1}}, "epochs"),
    "checkpoint_every": ({"checkpoint_every": 5, "checks": 1}, "checkpoints"),
    "threads": ({"threads": 2}, "threads"),
}
"""Setting -> a change of it, and what of the run must then differ."""

ANSWERED = {"check": {"metrics": ["ended"]}}

BESIDE: dict[str, dict[str, Any]] = {
    "optimiser.momentum": {"optimiser": {"name": "sgd"}},
    "optimiser.lora_plus_ratio": {"model": {"method": "lora"}},
    "regularise.replay_file": {"regularise": {"replay": 0.25}},
    "guard.lower_by": guarded(on_spike="lower_rate"),
    "patience": {"patience": None, "learning_rate": 0.3, "schedule": {"warmup": 0.0}, "checks": 12},
    "check.rows": ANSWERED,
    "check.every": ANSWERED,
    "check.max_new_tokens": ANSWERED | {"learning_rate": 2e-2},
    "checkpoint_every": {"checks": 1},
}
"""Setting -> what it is compared with where that is not the default."""


PREFER = {f"objective.prefer.{name}" for name in PreferSettings.model_fields}
REINFORCE = {f"objective.reinforce.{name}" for name in ReinforceSettings.model_fields if name != "judge"}
JUDGE = {f"objective.reinforce.judge.{name}" for name in JudgeSettings.model_fields}
ELSEWHERE = {"objective.name", "objective.drop", "objective.answers"} | PREFER | REINFORCE | JUDGE
"""Shown by test_learning.py, test_prefer.py, test_reinforce.py and tests/evaluate/test_judge.py: other rows."""


def leaves(kind: type[Settings], path: str = "") -> Iterator[str]:
    """Yield the dotted name of every setting that is not a section."""
    for name, field in kind.model_fields.items():
        inner = model_in(field.annotation)
        if inner is None:
            yield path + name
        else:
            yield from leaves(inner, f"{path}{name}.")


def test_every_setting_has_an_entry():
    assert set(CHANGES) | ELSEWHERE == set(leaves(TrainSettings))


def test_a_setting_without_an_entry_is_found():
    class Deeper(Settings):
        new: int = 1
        """New."""

    class Grown(TrainSettings):
        deeper: Deeper = Deeper()
        """Deeper."""

    assert set(leaves(Grown)) - set(CHANGES) - ELSEWHERE == {"deeper.new"}


LOGGED = ("step", "loss", "validation_loss", "answers", "answered", "did")


def seen(run: Path) -> dict[str, Any]:
    """Return all that may differ between two runs."""
    name = "adapter_model.safetensors" if (run / "model" / "adapter_config.json").exists() else "model.safetensors"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "weights": {name: tensor.numpy().tobytes() for name, tensor in load_file(str(run / "model" / name)).items()},
        "log": [
            [line.get(key) for key in ("step", "loss", "validation_loss", "answers", "answered", "did")]
            for line in lines
        ],
        "epochs": sorted(path.name for path in (run / "epochs").glob("*")),
        "checkpoints": sorted(path.name for path in (run / "checkpoints").iterdir()),
        "threads": json.loads((run / "summary.json").read_text())["threads"],
    }


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """What runs gave that several tests compare with."""
    return {}


@pytest.mark.parametrize("name", CHANGES)
def test_every_setting_changes_the_run(name, run_to_end, known, tmp_path, tmp_path_factory):
    rows = planted_snapshot(tmp_path_factory) if name.startswith("guard.") else None
    settings, what = CHANGES[name]
    beside = dict(BESIDE.get(name, GUARDED if rows else {}))
    model = beside.pop("model", None)
    if settings.get("regularise", {}).get("replay_file"):
        (tmp_path / "general.jsonl").write_text(
            '{"text": "The moon is far away."}\n{"text": "Rivers run to the sea."}\n'
        )
        settings = {"regularise": settings["regularise"] | {"replay_file": str(tmp_path / "general.jsonl")}}
    key = json.dumps([model, beside, bool(rows)])
    if key not in known:
        known[key] = seen(run_to_end(plan(model, **beside), "default", snapshot=rows))
    if what == "error":
        with pytest.raises(RuntimeError, match="in a row"):
            run_to_end(plan(model, **settings), "changed", snapshot=rows)
        return
    assert seen(run_to_end(plan(model, **settings), "changed", snapshot=rows))[what] != known[key][what]
