"""The proof of the engine holds where it should, and each of its checks finds the fault that it is there for."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from metier.core.errors import DataError, InputError
from metier.core.progress import Silent
from metier.core.types import Sequence
from metier.forest import grow
from metier.forest.descend import descend
from metier.forest.forest import Trunk
from metier.forest.pieces import Piece
from metier.forest.way import Way, probe
from metier.model.find import find
from metier.model.lora import LoraLinear, LoraProduct
from metier.train import loading
from metier.train.loop import Arithmetic, StepLog
from metier.train.objectives.supervised import Supervised
from metier.train.verify import exact, gradient, repetition
from metier.train.verify import run as verifying
from metier.train.verify.contamination import NAME as CONTAMINATION
from metier.train.verify.contamination import contamination
from metier.train.verify.exact import Exactly, as_peft, widen
from metier.train.verify.repetition import RESUME, TWICE
from metier.train.verify.rows import choose, columns, cut, plant
from metier.train.verify.run import ACCUMULATION, COPY, GRADIENT, ROUNDED, verify
from metier.train.verify.settings import VerifySettings
from metier.train.verify.verdicts import Check, Verified, report
from tests.forest.architectures import PACKABLE, VOCABULARY, build
from tests.forest.trees import prompt_rows, tree_rows
from tests.train.conftest import plan

NAMES = {TWICE, CONTAMINATION, ROUNDED, COPY, GRADIENT, ACCUMULATION, RESUME}
FEW = VerifySettings(rows=5, tokens=64, steps=3)
CPU = Arithmetic(device=torch.device("cpu"))

Verify = Callable[..., Verified]


@pytest.fixture
def verified(tiny_base: Path, tiny_snapshot: Path, tmp_path: Path) -> Verify:
    def look(settings: VerifySettings = FEW, **model: object) -> Verified:
        base = find(str(tiny_base), tiny_base)
        run = tmp_path / ".metier" / "runs" / "none"
        return verify(tiny_snapshot, base, run=run, plan=plan(model), settings=settings, progress=Silent())

    return look


def broken(seen: Verified) -> set[str]:
    assert report(seen).verdict.good is False
    error = seen.error()
    assert error is not None
    assert error.exit_code == 1
    names = {check.name for check in seen.broken}
    assert any(name in str(error) for name in names)
    return names


@pytest.mark.parametrize(
    "model",
    [
        {"method": "full"},
        {"method": "lora", "rank": 4, "dropout": 0.1},
        {"method": "layers", "layers": (1,)},
        {"method": "lora", "rank": 4, "gradient_checkpointing": True},
        {"method": "lora", "rank": 4, "quantise": "bfloat16"},
    ],
    ids=["full", "lora", "layers", "checkpointing", "bfloat16"],
)
def test_everything_holds(verified, model):
    seen = verified(**model)
    assert {check.name for check in seen.checks} == NAMES
    assert {check.name: check.found for check in seen.checks if not check.good} == {}
    assert seen.error() is None
    assert report(seen).verdict.good is True
    assert "trunk" in next(check.detail for check in seen.checks if check.name == GRADIENT)


def test_settings_say_how_much_is_looked_at(verified):
    seen = verified(VerifySettings(rows=3, tokens=40, steps=2))
    facts = dict(seen.facts)
    assert re.fullmatch(r"3 of \d\d, the longest with 40 tokens", str(facts["rows"]))
    assert "of 2, loaded afresh at step 1" in next(check.detail for check in seen.checks if check.name == RESUME)


# --- a planted fault for every check ---------------------------------------------------------------------------------


@pytest.fixture
def unprobed(monkeypatch):
    """Keep the probe, which would find some of these faults and go another way, out of it."""
    monkeypatch.setattr(loading, "probe", lambda model: Way())


def test_a_wrong_piece_of_attention_is_found(verified, monkeypatch, unprobed):
    right = grow.attention_pieces

    def wrong(nodes, links):
        pieces = right(nodes, links)
        return pieces if pieces[-1].own else pieces[:-1]

    monkeypatch.setattr(grow, "attention_pieces", wrong)
    assert {GRADIENT, ROUNDED} <= broken(verified())


def test_a_forgotten_trunk_is_found(verified, monkeypatch):
    monkeypatch.setattr(Trunk, "backward", Trunk.forget)
    assert broken(verified()) == {GRADIENT, ROUNDED, ACCUMULATION}


def test_a_row_that_leaks_is_found(verified, monkeypatch, unprobed):
    def leaking(nodes, links):
        end = nodes[-1].stop
        return (Piece(start=0, stop=end, key_start=0, key_stop=end, own=True),)

    monkeypatch.setattr(grow, "attention_pieces", leaking)
    assert CONTAMINATION in broken(verified())


def test_a_mean_of_means_is_found(verified, monkeypatch):
    def by_part(model, objective, work, optimiser, *, clip, arithmetic):
        for _, forest in descend(model, work, learn=True):
            loss = objective.loss(model, forest)
            (loss.total / objective.weight(forest) / len(work.forests)).backward()
        return StepLog(loss=0.0, gradient_norm=0.0, tokens=0, computed=0)

    monkeypatch.setattr(gradient, "gradient", by_part)
    assert ACCUMULATION in broken(verified())


def test_another_seed_after_the_interruption_is_found(verified, monkeypatch):
    right, calls = verifying.ready, []

    def forgetful(run, base, settings, material, progress):
        calls.append(run)
        fit = right(run, base, settings, material, progress)
        if len(calls) == 4:  # after the one that is looked at, the whole one and the one that is interrupted
            fit.order.seed += 1
        return fit

    monkeypatch.setattr(verifying, "ready", forgetful)
    assert broken(verified()) == {RESUME}


def test_randomness_without_a_key_is_found(verified, monkeypatch):
    monkeypatch.setattr(repetition, "seed_step", lambda seed, step: None)
    assert broken(verified(method="lora", dropout=0.5)) == {TWICE}


def test_a_float64_model_that_is_another_is_found(verified, monkeypatch):
    def careless(model):
        widen(model)
        with torch.no_grad():
            model.get_input_embeddings().weight.mul_(1.01)

    monkeypatch.setattr(verifying, "widen", careless)
    assert broken(verified()) == {COPY}


def test_an_adapter_with_a_gradient_of_its_own_is_found(verified, monkeypatch):
    right = LoraProduct.backward

    def wrong(context, upstream):
        to_x, _, to_down, to_up = right(context, upstream)
        return to_x, None, to_down, to_up * 1.01

    monkeypatch.setattr(LoraProduct, "backward", staticmethod(wrong))
    assert broken(verified(method="lora")) == {GRADIENT, ROUNDED}


# --- the parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PACKABLE)
def test_every_architecture_is_exact_to_the_last_bits_in_float64(name):
    model = build(PACKABLE[name], torch.float32)
    way = probe(model)
    assert way.packed
    rows = [*tree_rows(1), *prompt_rows((3, 8, 8, 1))]
    plain32 = gradient.plain_gradients(model, rows, CPU)
    widen(model)
    objective = Supervised(way)
    with Exactly():
        plain = gradient.plain_gradients(model, rows, CPU)
        with way.attention(model):
            for budget in (10_000, 60):
                work = way.arrange(rows, budget)
                ours = gradient.forest_gradients(model, objective, work, CPU)
                assert gradient.apart(ours, plain)[0] <= 1e-11
        seen = contamination(model, way, prompt_rows((9, 9, 9, 9)), CPU, bound=1e-11)
    assert seen.good, seen
    assert gradient.apart(plain32, plain)[0] <= 1e-2, "the float64 model is the model"


def test_without_the_mode_the_library_computes_in_float32():
    model = build(PACKABLE["llama"])
    seen = []
    model.model.norm.register_forward_hook(lambda module, args, output: seen.append(output))
    ids = torch.arange(5)[None]
    with torch.no_grad():
        model(input_ids=ids)
        with Exactly():
            model(input_ids=ids)
    assert seen[0].dtype == seen[1].dtype == torch.float64
    assert 1e-12 < (seen[0] - seen[1]).abs().max() < 1e-4


def test_the_other_side_is_pefts_own(verified, monkeypatch):
    calls = []
    monkeypatch.setattr(LoraLinear, "_plain", lambda self, x: calls.append(type(self)))
    verified(method="lora")
    assert calls
    calls.clear()
    model = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
    with as_peft(model):
        assert type(model[0]) is torch.nn.Linear


def test_too_little_memory_is_refused_with_advice(verified, monkeypatch):
    monkeypatch.setattr(exact, "free_bytes", lambda device: 1000)
    with pytest.raises(InputError, match=r"needs about .* GB more, 0.0 GB are free.*--verify.rows 2"):
        verified()


def row(ids: list[int], learnt: int) -> Sequence:
    weights = np.zeros(len(ids), dtype=np.float32)
    weights[-learnt:] = 1
    return Sequence(ids=np.array(ids, dtype=np.int32), weights=weights, row_id=str(ids[-1]))


def test_a_long_row_loses_its_middle_only():
    short = cut(row([*range(100)], 3), 20)
    assert short.ids.tolist() == [*range(10), *range(90, 100)]
    assert short.weights.tolist() == [0.0] * 17 + [1.0] * 3
    assert cut(short, 20) is short


def test_rows_are_spread_and_have_labels():
    rows = [row([1, 2, number], 1) for number in range(10)]
    rows[0] = Sequence(ids=rows[0].ids, weights=np.zeros(3, dtype=np.float32), row_id="0")
    assert [part.row_id for part in choose(columns(rows), 3, 99)] == ["1", "4", "7"]
    with pytest.raises(DataError, match="1 training rows with something to learn"):
        choose(columns(rows[:2]), 3, 99)


def test_the_secret_is_where_nobody_else_looks():
    rows = [row([1, 2, 3, 4, 5, 6], 2), row([1, 2, 9, 9], 1)]
    planted = plant(rows, VOCABULARY)
    assert planted is not None
    assert (planted.place, planted.start) == (0, 3)
    assert planted.rows[0].ids[:3].tolist() == [1, 2, 3]
    assert all(planted.rows[0].ids[3:] != rows[0].ids[3:])
    assert planted.rows[1] is rows[1]
    assert plant([rows[0], rows[0]], VOCABULARY) is None


def test_what_cannot_be_told_is_not_called_proven():
    silent = Check(name=CONTAMINATION, found=None, bound=0.0, unit="nats", detail="no row has two tokens of its own")
    told = report(Verified(checks=(silent,), facts=()))
    assert told.verdict.good is None
    assert CONTAMINATION in told.verdict.text
    assert told.tables[1].rows[0][1] == "cannot tell"
    assert Check(name="", found=float("inf"), bound=1.0, unit="", detail="").good is False
