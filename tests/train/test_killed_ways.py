"""kill -9 before a chosen write: whatever is learnt, in whatever way, the same call goes on to the same bits."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metier.core import artefact
from metier.core.progress import Silent
from metier.model.find import find
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.snapshot import prepare
from metier.train.plan import TrainingPlan
from metier.train.run import train
from tests.train import killing
from tests.train.conftest import plan
from tests.train.test_kill import fingerprint
from tests.train.test_learning import ROWS

PAIR = {"objective": {"name": "prefer", "prefer": {"loss": "ipo"}}}
GRADER = {"type": "string_check", "operation": "like", "reference": "{{ item.reference_answer }}"}
REWARD = {"name": "reinforce", "reinforce": {"grader": GRADER, "answers": 4, "max_new_tokens": 4}}

KINDS: dict[str, Any] = ROWS | {
    "pair": lambda n: {"prompt": f"{n}?", "chosen": ("red", "blue")[n % 2], "rejected": ("blue", "red")[n % 2]},
    "task": lambda n: {"messages": [{"role": "user", "content": f"say {n}"}], "reference_answer": "ab"[n % 2]},
}

COMBINATIONS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "labels by a head, top layer from kept states, kept epochs": (
        "label",
        {"method": "layers", "layers": "top-1"},
        {"objective": "classify", "check": {"keep_epochs": 2}, "regularise": {"l2_to_base": 1}},
    ),
    "numbers by a head, DoRA, Muon, an average": (
        "score",
        {"method": "lora", "rank": 4, "lora": {"dora": True}},
        {"objective": "regress", "optimiser": {"name": "muon"}, "regularise": {"ema": 0.9}},
    ),
    "distillation, PiSSA, Adafactor, dropout": (
        "chat",
        {"method": "lora", "rank": 4, "lora": {"init": "pissa"}, "dropout": 0.1},
        {"objective": "distil", "optimiser": {"name": "adafactor"}},
    ),
    "preferences, a learnt prompt, SGD": ("pair", {"method": "prompt", "virtual": {"tokens": 3}}, PAIR),
    "rewards beside an int8 base, KL to the base": (
        "task",
        {"method": "lora", "rank": 4, "quantise": "int8"},
        {"objective": REWARD, "rows_per_step": 4, "regularise": {"kl_to_base": 0.5}},
    ),
    "plain text, bottleneck modules, noise, rolling back": (
        "text",
        {"method": "bottleneck", "bottleneck": {"width": 8}},
        {"regularise": {"neftune_alpha": 5}, "guard": {"on_spike": "roll_back", "threshold": 0.1, "window": 5}},
    ),
}


def _writes(event: str, arguments: tuple[Any, ...]) -> Iterator[str]:
    """Yield the path that an event of the interpreter is about to change."""
    path, *more = arguments or ("",)
    if isinstance(path, (str, os.PathLike)) and (
        event in {"os.rename", "os.remove", "os.mkdir", "os.rmdir"}
        or (event == "open" and isinstance(more[-1], int) and more[-1] & (os.O_WRONLY | os.O_RDWR))
    ):
        yield os.path.abspath(path)


def train_counting(snapshot: Path, base: Path, run: Path, settings: TrainingPlan, *, die_before: int) -> None:
    """Train, and say beside the run before how many writes below it one could die; die before one of them. 0: none."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if not any(path.startswith(str(run)) for path in _writes(event, arguments)):
            return
        count += 1
        if count == die_before:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    train(snapshot, find(str(base), base), run=run, settings=settings, progress=Silent())
    run.with_suffix(".writes").write_text(str(count))


@pytest.mark.parametrize("name", COMBINATIONS)
def test_a_kill_before_any_write_changes_no_bit(name, tiny_base, tmp_path):
    kind, model, chosen = COMBINATIONS[name]
    settings = plan(model, **({"max_steps": 6, "checks": 2} | chosen))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(KINDS[kind](number)) + "\n" for number in range(48)))
    store = tmp_path / ".metier"
    data = DataSettings(train="rows.jsonl")
    snapshot = prepare(data, PrepareSettings(), folder=tmp_path, store=store, seed=0, progress=Silent()).path

    def ended(run: Path, die_before: int = 0) -> int:
        child = killing.start(train_counting, snapshot, tiny_base, run, settings, die_before=die_before)
        return killing.wait(child)

    whole = store / "runs" / "whole"
    assert ended(whole) == 0
    writes = int(whole.with_suffix(".writes").read_text())
    assert writes > 20
    for share in (0.2, 0.5, 0.8, 0.97):
        cut = store / "runs" / f"cut-{share}"
        assert ended(cut, round(share * writes)) == -signal.SIGKILL
        assert ended(cut) == 0
        assert fingerprint(cut) == fingerprint(whole)
        assert not [path for path in cut.rglob("*") if path.name.startswith((".tmp-", ".old-"))]
        kept = {path.name: artefact.verify(path / "model").digest for path in (cut / "epochs").glob("*")}
        assert kept == {path.name: artefact.verify(path / "model").digest for path in (whole / "epochs").glob("*")}
        assert not (cut / "frozen").exists()
