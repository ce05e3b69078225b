"""The proof of the engine under a head and with a teacher holds where it should, and finds what it is there for."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from metier.core.errors import SettingsError
from metier.core.progress import Silent
from metier.core.types import Sequence
from metier.forest import grow
from metier.forest.forest import Trunk
from metier.forest.pieces import Piece
from metier.forest.way import Way
from metier.model.find import find
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.snapshot import prepare
from metier.text.rendered import Rendered
from metier.train import loading
from metier.train.objectives import classify, distil, regularised
from metier.train.verify import run as verifying
from metier.train.verify.contamination import NAME as CONTAMINATION
from metier.train.verify.repetition import RESUME, TWICE
from metier.train.verify.rows import columns, cut
from metier.train.verify.run import ACCUMULATION, COPY, GRADIENT, ROUNDED, verify
from metier.train.verify.settings import VerifySettings
from metier.train.verify.taught import NAME as TAUGHT
from metier.train.verify.verdicts import Verified, report
from tests.model.bases import write_base
from tests.train.conftest import plan

NAMES = {TWICE, CONTAMINATION, ROUNDED, COPY, GRADIENT, ACCUMULATION, RESUME}
COLOURS = ("red", "green", "blue")
ROWS = {
    "classify": lambda n: {"text": f"item {n} is {COLOURS[n % 3]}", "label": COLOURS[n % 3]},
    "multilabel": lambda n: {"text": f"item {n} is {COLOURS[n % 3]}", "label": [COLOURS[n % 3], "odd"][: n % 3]},
    "regress": lambda n: {"text": f"item {n} is {COLOURS[n % 3]}", "score": 10.0 * (n % 4)},
    "distil": lambda n: {"prompt": f"item {n} is", "completion": COLOURS[n % 3], "system": "Name a colour, please."},
    "reinforce": lambda n: {"prompt": f"item {n}", "reference": str(n)},
}

Verify = Callable[..., Verified]


@pytest.fixture
def verified(tiny_base: Path, tmp_path: Path) -> Verify:
    def look(objective: str, base: Path | None = None, **model: object) -> Verified:
        records = [ROWS[objective](number) | {"weight": 1 + number % 2} for number in range(40)]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        chosen = PrepareSettings(test_share=0, validation_share=0.2, columns={"weight": "weight"})
        data = DataSettings(train="rows.jsonl")
        snapshot = prepare(data, chosen, folder=tmp_path, store=tmp_path / ".metier", seed=0, progress=Silent()).path
        return verify(
            snapshot, find(str(base or tiny_base), tmp_path), run=tmp_path / ".metier" / "runs" / "none",
            plan=plan(model, objective=objective), settings=VerifySettings(rows=5, tokens=64, steps=3),
            progress=Silent(),
        )  # fmt: skip

    return look


def broken(seen: Verified) -> set[str]:
    return {check.name for check in seen.broken}


def holds(seen: Verified) -> None:
    assert {check.name: check for check in seen.checks if not check.good} == {}
    assert report(seen).verdict.good is True


@pytest.mark.parametrize("kind", ["classify", "multilabel", "regress"])
@pytest.mark.parametrize("model", [{"method": "full"}, {"method": "lora", "rank": 4, "dropout": 0.1}], ids=str)
def test_everything_holds_under_every_head(kind, model, verified):
    seen = verified(kind, **model)
    assert {check.name for check in seen.checks} == NAMES
    holds(seen)


def test_a_head_of_a_base_that_pads_nothing_is_compared_row_by_row(verified, tmp_path):
    base = write_base(tmp_path / "unpadded", pad_token_id=None)
    (base.folder / "generation_config.json").write_text(json.dumps({"bos_token_id": 1, "eos_token_id": [2]}))
    holds(verified("classify", base.folder, method="layers", layers=(1,)))


@pytest.mark.parametrize(
    "model",
    [
        {"method": "full"},
        {"method": "lora", "rank": 4, "dropout": 0.1},
        {"method": "lora", "rank": 4, "lora": {"init": "pissa"}},
        {"method": "prompt", "virtual": {"tokens": 4}},
    ],
    ids=str,
)
def test_everything_holds_with_a_teacher(model, verified):
    seen = verified("distil", **model)
    assert {check.name for check in seen.checks} == NAMES | {TAUGHT}
    holds(seen)
    assert "labels behind" in next(check.detail for check in seen.checks if check.name == TAUGHT)


def test_rewards_have_no_plain_step(tiny_base, tiny_snapshot, tmp_path):
    settings = plan(objective={"name": "reinforce", "reinforce": {"grader": {"type": "string_check"}}})
    view = replace(verifying.gather(tiny_snapshot, find(str(tiny_base), tmp_path), tmp_path / "s" / "runs" / "r",
                                    plan(), Silent()).view, objective=settings.train.objective)  # fmt: skip
    with pytest.raises(SettingsError, match=r"train.objective reinforce; wanted: .*; do: verify a project whose rows"):
        verifying._require_plain_form(view)


# --- a planted fault for every check ---------------------------------------------------------------------------------


def test_another_loss_of_a_head_is_found(verified, monkeypatch):
    right = classify.losses
    monkeypatch.setattr(classify, "losses", lambda kind, said, wanted: right(kind, 1.01 * said, wanted))
    assert broken(verified("classify")) == {GRADIENT, ROUNDED}


def test_rows_that_all_count_the_same_are_found(verified, monkeypatch):
    right = classify.weighted
    monkeypatch.setattr(
        classify, "weighted", lambda nats, forest: right(nats, replace(forest, weight=forest.weight / forest.weight))
    )
    assert {GRADIENT, ROUNDED} <= broken(verified("regress"))


def test_a_head_that_reads_the_token_before_is_found(verified, monkeypatch):
    right = classify.states.outputs

    def before(way, model, forest):
        return right(way, model, replace(forest, source=forest.source - 1))

    monkeypatch.setattr(classify.states, "outputs", before)
    assert {GRADIENT, ROUNDED} <= broken(verified("multilabel"))


def test_a_row_that_leaks_into_a_head_is_found(verified, monkeypatch):
    def leaking(nodes, links):
        end = nodes[-1].stop
        return (Piece(start=0, stop=end, key_start=0, key_stop=end, own=True),)

    monkeypatch.setattr(loading, "probe", lambda model: Way())
    monkeypatch.setattr(grow, "attention_pieces", leaking)
    assert CONTAMINATION in broken(verified("classify"))


@pytest.mark.parametrize("objective", ["classify", "distil"])
def test_a_forgotten_trunk_is_found(objective, verified, monkeypatch):
    monkeypatch.setattr(Trunk, "backward", Trunk.forget)
    assert {GRADIENT, ROUNDED, ACCUMULATION} <= broken(verified(objective))


def test_a_teacher_that_reads_the_short_prompt_is_found(verified, monkeypatch):
    monkeypatch.setattr(distil, "_partner", lambda sequence: sequence)
    assert {TAUGHT, GRADIENT, ROUNDED} <= broken(verified("distil"))


def test_a_teacher_with_its_adapter_on_is_found(verified, monkeypatch):
    """An adapter that has not moved yet is no fault before the first step: it shows in the gradient."""
    monkeypatch.setattr(regularised, "adapter_off", lambda model: nullcontext())
    assert broken(verified("distil", method="lora", rank=4)) == {GRADIENT, ROUNDED}


def test_a_copy_that_is_not_the_base_is_found(verified, monkeypatch):
    right = verifying.ready

    def moved(*arguments):
        fit = right(*arguments)
        with torch.no_grad():
            next(fit.model.parameters()).mul_(1.2)  # after the teacher was made
        return fit

    monkeypatch.setattr(verifying, "ready", moved)
    assert TAUGHT in broken(verified("distil"))


def test_a_divergence_the_other_way_round_is_found(verified, monkeypatch):
    def reverse(expected, logits):
        own = torch.log_softmax(logits, dim=-1)
        return (own.exp() * (own - expected)).sum(dim=-1)

    monkeypatch.setattr(regularised, "divergence", reverse)
    assert broken(verified("distil")) == {GRADIENT, ROUNDED}


# --- the parts -------------------------------------------------------------------------------------------------------


def side(prompt: int, learnt: int) -> Sequence:
    ids = np.arange(prompt + learnt, dtype=np.int32)
    weights = np.r_[np.zeros(prompt), np.ones(learnt)].astype(np.float32)
    return Sequence(ids=ids, weights=weights, row_id="0")


def test_what_one_side_has_lost_is_learnt_in_none():
    row = replace(side(10, 30), partner=side(200, 30))
    short = cut(row, 40)
    assert short.partner is not None
    assert len(short) == 40
    assert len(short.partner) == 40
    learnt = [part.ids[part.weights != 0].tolist() for part in (short, short.partner)]
    assert learnt == [list(range(20, 40)), list(range(210, 230))], "the same last twenty"


def test_rows_keep_their_partners_and_targets():
    rows = [replace(side(5, 2), partner=side(9, 2), target=np.array([0.0, 1.0], np.float32))] * 2
    kept: Rendered = columns(rows)
    assert kept.sequence(1).partner is not None
    assert len(kept.sequence(1).partner or ()) == 11
    assert kept.sequence(1).target is not None
    assert columns([side(5, 2)]).targets is None
