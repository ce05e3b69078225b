"""The planner: fixed text behind a variable part is found, auto settles what fits, what cannot fit is refused."""

import json

import numpy as np
import pytest

from metier.core.errors import SettingsError
from metier.core.progress import Silent
from metier.core.types import Sequence
from metier.model.find import find
from metier.train.planning import run as planning
from metier.train.planning.lint import misplaced
from tests.cli.workshop import Listener
from tests.train.conftest import plan
from tests.train.test_options import losses


def rows(*, variable_first: bool) -> list[Sequence]:
    random = np.random.default_rng(0)
    fixed = random.integers(0, 1000, 200)
    made = []
    for number in range(16):
        variable, answer = random.integers(0, 1000, 20), random.integers(0, 1000, 8)
        parts = (variable, fixed) if variable_first else (fixed, variable)
        ids = np.concatenate([*parts, answer]).astype(np.int32)
        weights = np.r_[np.zeros(220), np.ones(8)].astype(np.float32)
        made.append(Sequence(ids=ids, weights=weights, row_id=str(number)))
    return made


def test_fixed_text_behind_a_variable_part_is_found_with_what_it_costs():
    found = misplaced(rows(variable_first=True), 4096)
    assert found is not None
    assert found.tokens == 200
    assert found.cheaper == pytest.approx(16 * 227 / (200 + 16 * 27), rel=0.01)
    assert "200 tokens" in found.said()
    assert f"{found.cheaper:.1f}×" in found.said()


def test_fixed_text_in_front_is_no_fault():
    assert misplaced(rows(variable_first=False), 4096) is None


def test_what_is_not_set_is_chosen_and_said(run_to_end):
    heard = Listener()
    run = run_to_end(plan(micro_batch_tokens=None), "auto", heard)
    chosen = {entry["name"]: entry["value"] for entry in json.loads((run / "choices.json").read_text())}
    assert chosen["train.micro_batch_tokens"] == 4096
    assert chosen["model.gradient_checkpointing"] is False
    assert any(line.startswith("plan: ") for line in heard.said)
    assert losses(run) == pytest.approx(losses(run_to_end(plan(), "set")), rel=1e-5)


def test_what_cannot_fit_is_refused_before_weights_are_loaded(tiny_base, tiny_snapshot, tmp_path, monkeypatch):
    from metier.train.run import train

    base = find(str(tiny_base), tiny_base)
    monkeypatch.setattr(planning, "_room", lambda: 1 << 20)
    with pytest.raises(SettingsError, match="needs") as caught:
        train(tiny_snapshot, base, run=tmp_path / "s" / "runs" / "r", settings=plan(), progress=Silent())
    assert caught.value.exit_code == 2
    assert "metier plan" in caught.value.do
