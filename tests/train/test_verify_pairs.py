"""The proof of the engine on preferences holds where it should, and its checks find the faults they are there for."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from metier.core.progress import Silent
from metier.core.types import Sequence
from metier.forest.forest import Trunk
from metier.model.find import find
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.snapshot import prepare
from metier.train import preferring
from metier.train.objectives import prefer
from metier.train.objectives.prefer import Prefer
from metier.train.settings import PreferSettings
from metier.train.verify import pairs
from metier.train.verify import run as verifying
from metier.train.verify.contamination import NAME as CONTAMINATION
from metier.train.verify.pairs import NAME as ASKED
from metier.train.verify.repetition import RESUME, TWICE
from metier.train.verify.run import ACCUMULATION, COPY, GRADIENT, ROUNDED, verify
from metier.train.verify.settings import VerifySettings
from metier.train.verify.verdicts import Verified
from tests.train.conftest import plan

NAMES = {ASKED, TWICE, CONTAMINATION, ROUNDED, COPY, GRADIENT, ACCUMULATION, RESUME}

Verify = Callable[..., Verified]


@pytest.fixture(scope="module")
def preferences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of questions that begin alike, with answers of unequal length that begin alike too."""
    folder = tmp_path_factory.mktemp("preferences")
    rows = [
        {
            "prompt": f"we ask you: is {number} a number?",
            "chosen": f"it is {number}, " + "yes " * (number % 3),
            "rejected": "it is not",
            "weight": 1 + number % 2,
        }
        for number in range(40)
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    chosen = PrepareSettings(test_share=0, validation_share=0.2, columns={"weight": "weight"})
    data = DataSettings(train="train.jsonl")
    return prepare(data, chosen, folder=folder, store=folder / ".metier", seed=0, progress=Silent()).path


@pytest.fixture
def verified(tiny_base: Path, preferences: Path, tmp_path: Path) -> Verify:
    def look(prefers: dict[str, object] | None = None, **model: object) -> Verified:
        settings = plan(model, objective={"name": "prefer", "prefer": prefers or {}})
        return verify(
            preferences, find(str(tiny_base), tiny_base), run=tmp_path / ".metier" / "runs" / "none", plan=settings,
            settings=VerifySettings(rows=4, tokens=64, steps=3), progress=Silent(),
        )  # fmt: skip

    return look


def broken(seen: Verified) -> set[str]:
    return {check.name for check in seen.broken}


@pytest.mark.parametrize(
    ("prefers", "model"),
    [
        ({}, {"method": "full"}),
        ({"label_smoothing": 0.2, "likelihood": 0.7}, {"method": "lora", "rank": 4, "dropout": 0.1}),
        ({"loss": "ipo", "beta": 0.3}, {"method": "layers", "layers": (1,)}),
        ({"loss": "hinge"}, {"method": "lora", "rank": 4, "lora": {"init": "pissa"}}),
    ],
    ids=str,
)
def test_everything_holds_for_every_loss(verified, prefers, model):
    seen = verified(prefers, **model)
    assert {check.name for check in seen.checks} == NAMES
    assert {check.name: check for check in seen.checks if not check.good} == {}
    facts = dict(seen.facts)
    assert re.fullmatch(r"4 of 3\d, the longest with \d\d tokens", str(facts["rows"]))
    assert "8 answers" in next(check.detail for check in seen.checks if check.name == ASKED)


# --- a planted fault for every check ---------------------------------------------------------------------------------


def test_a_base_that_was_asked_with_the_rows_weights_is_found(verified, monkeypatch):
    """Every token of an answer counts once; the fault lets it count by the weight of its row."""
    right = preferring._asked

    def weighted(rendered, fit, progress):
        heavy = [float(rendered.sequence(number).weights.max()) for number in range(len(rendered))]
        return right(rendered, fit, progress) * np.array(heavy, np.float32)[:, None]

    monkeypatch.setattr(preferring, "_asked", weighted)
    assert broken(verified()) == {ASKED}


def test_a_base_that_is_the_model_in_training_is_found(verified, monkeypatch):
    """The adapter switched on while the base is asked: the fault shows in an adapter that is not zero."""
    right = verifying.ready

    def moved(*arguments, **named):
        fit = right(*arguments, **named)
        with torch.no_grad():
            for weight in fit.model.parameters():
                if weight.requires_grad:
                    weight.add_(0.05)
        rendered = replace(fit.rendered, targets=preferring._asked(replace(fit.rendered, targets=None), fit, Silent()))
        return replace(fit, rendered=rendered)

    monkeypatch.setattr(verifying, "ready", moved)
    assert ASKED not in broken(verified(method="lora"))
    monkeypatch.setattr(preferring, "keeps_base", lambda model: False)
    assert ASKED in broken(verified(method="lora"))


def test_answers_the_wrong_way_round_are_found(verified, monkeypatch):
    right = Prefer.of_pairs
    monkeypatch.setattr(Prefer, "of_pairs", lambda self, said, expected: right(self, -said, -expected))
    assert broken(verified()) == {GRADIENT, ROUNDED}


def test_a_loss_that_forgets_the_base_is_found(verified, monkeypatch):
    right = prefer._expected
    monkeypatch.setattr(prefer, "_expected", lambda forest: 0 * right(forest))
    assert broken(verified()) == {GRADIENT, ROUNDED}


def test_pairs_that_all_count_the_same_are_found(verified, monkeypatch):
    right = prefer._of_pairs
    monkeypatch.setattr(prefer, "_of_pairs", lambda forest: torch.ones_like(right(forest)))
    assert broken(verified()) == {GRADIENT, ROUNDED}


def test_another_beta_is_found(verified, monkeypatch):
    right = Prefer.__init__

    def careless(self, settings, *rest):
        right(self, settings.model_copy(update={"beta": 0.11}), *rest)

    monkeypatch.setattr(Prefer, "__init__", careless)
    assert {GRADIENT, ROUNDED} <= broken(verified())


def test_a_forgotten_trunk_is_found(verified, monkeypatch):
    monkeypatch.setattr(Trunk, "backward", Trunk.forget)
    assert {GRADIENT, ROUNDED, ACCUMULATION} <= broken(verified())


def test_a_resumed_run_that_asks_the_trained_model_is_found(verified, monkeypatch):
    """The base's numbers asked anew when a run goes on, of weights that have moved since."""
    right, calls = verifying.ready, []

    def forgetful(run, *rest):
        calls.append(run)
        fit = right(run, *rest)
        if len(calls) == 4:  # the one that goes on
            others = fit.rendered.targets - np.tile(np.array([[3.0], [0.0]], np.float32), (4, 1))
            fit = replace(fit, rendered=replace(fit.rendered, targets=others))
        return fit

    monkeypatch.setattr(verifying, "ready", forgetful)
    assert broken(verified()) == {RESUME}


def test_the_loss_written_out_is_log_two_where_nothing_has_moved():
    rows = [replace(row, target=np.array([-2.0])) for row in _two()]
    logp, weights = torch.full((2, 2), -1.0, dtype=torch.float64), torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    assert pairs.loss_of(PreferSettings())(rows, logp, weights).item() == pytest.approx(np.log(2))
    assert pairs.loss_of(PreferSettings(loss="ipo", beta=0.25))(rows, logp, weights).item() == pytest.approx(4.0)
    assert pairs.loss_of(PreferSettings(loss="hinge"))(rows, logp, weights).item() == pytest.approx(1.0)
    moved = torch.tensor([[-1.0, -1.0], [-1.0, -1.0 - np.log(3)]], dtype=torch.float64)
    assert pairs.loss_of(PreferSettings(beta=1.0))(rows, moved, weights).item() == pytest.approx(np.log(4 / 3))


def _two() -> list[Sequence]:
    ids = np.array([1, 2, 3], np.int32)
    return [Sequence(ids=ids, weights=np.array([0, 1, 1], np.float32), row_id=str(side)) for side in range(2)]
