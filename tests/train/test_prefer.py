"""Preferences: the loss and its gradient written out in float64, pairs kept together, and a run from its rows on."""

import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from metier.core.errors import DataError, SettingsError
from metier.core.progress import Silent
from metier.core.types import Sequence
from metier.forest.arrange import Arrangement, arrange
from metier.forest.way import ALONE, Way
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.snapshot import prepare
from metier.text.rendered import columns
from metier.train import preferring
from metier.train.objectives.prefer import TOGETHER, Prefer
from metier.train.settings import ObjectiveSettings, PreferSettings
from tests.train.conftest import plan
from tests.train.test_objectives import CPU, EXACT, base_model, difference, our_gradients


def answers(*, weights: tuple[float, ...] = (1.0, 2.0, 0.5)) -> list[Sequence]:
    """Three pairs behind prompts that begin alike; each side knows what the base gives it."""
    random = np.random.default_rng(3)
    begin = random.integers(3, 268, 20)
    made = []
    for number, weight in enumerate(weights):
        asked = np.concatenate((begin, random.integers(3, 268, 4 + number)))
        for length in (3 + number, 6 - number):
            ids = np.concatenate((asked, random.integers(3, 268, length))).astype(np.int32)
            counted = np.zeros(len(ids), np.float32)
            counted[len(asked) :] = weight
            target = random.normal(-20, 2, 1).astype(np.float32)
            made.append(Sequence(ids=ids, weights=counted, row_id=str(number), target=target))
    return made


def log_probability(model: torch.nn.Module, sequence: Sequence) -> torch.Tensor:
    """Of the answer behind its prompt, in a call of the library's own."""
    ids = torch.from_numpy(sequence.ids.astype(np.int64))[None]
    logp = torch.log_softmax(model(input_ids=ids).logits[0, :-1], dim=-1)
    places = torch.from_numpy(np.flatnonzero(sequence.weights))
    return logp[places - 1, ids[0, places]].sum()


def written_out(model: torch.nn.Module, sequences: list[Sequence], chosen: PreferSettings) -> torch.Tensor:
    """The papers' formulas, pair by pair."""
    total, weights, beta = torch.zeros((), dtype=torch.float64), 0.0, chosen.beta
    for better, worse in zip(sequences[0::2], sequences[1::2], strict=True):
        said = [log_probability(model, side) for side in (better, worse)]
        h = (said[0] - float(better.target[0])) - (said[1] - float(worse.target[0]))
        if chosen.loss == "sigmoid":
            e = chosen.label_smoothing
            loss = -(1 - e) * torch.log(1 / (1 + torch.exp(-beta * h))) - e * torch.log(1 / (1 + torch.exp(beta * h)))
        elif chosen.loss == "ipo":
            loss = (h - 1 / (2 * beta)) ** 2
        else:
            loss = torch.clamp(1 - beta * h, min=0)
        length = np.count_nonzero(better.weights)
        weight = float(better.weights[-1])
        total = total + weight * (loss - chosen.likelihood * said[0] / length)
        weights += weight
    return total / weights


def works(sequences: list[Sequence], way: Way) -> list[Arrangement]:
    budgets = (1 << 20, 45, 1) if way.packed else (1 << 20,)
    return [way.arrange(sequences, budget, together=TOGETHER) for budget in budgets]


@pytest.mark.parametrize(
    "chosen",
    [
        PreferSettings(),
        PreferSettings(beta=0.5, label_smoothing=0.2, likelihood=0.7),
        PreferSettings(loss="ipo", beta=0.3),
        PreferSettings(loss="hinge", beta=0.05),
    ],
)
@pytest.mark.parametrize("way", [Way(), Way(labels_only=False), Way(plain_head=False), ALONE])
def test_the_gradient_is_that_of_the_formula(chosen, way, tiny_base):
    model = base_model(tiny_base).double().requires_grad_(True).train()
    expected = written_out(model, answers(), chosen)
    model.zero_grad()
    expected.backward()
    plain = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    for work in works(answers(), way):
        loss, gradients = our_gradients(model, Prefer(chosen, way), work, way)
        assert loss == pytest.approx(expected.item(), rel=1e-9)
        assert difference(gradients, plain) <= EXACT


def test_the_prompt_of_a_pair_is_read_once():
    (whole, _, cut) = works(answers(), Way())
    assert whole.computed < 0.6 * whole.given
    assert cut.trunks, "and the beginning of all of them too, however small the budget"


def test_changed_sides_would_not_pass(tiny_base):
    """The planted fault: the worse answer in the better one's place."""
    model = base_model(tiny_base).double().requires_grad_(True).train()
    work = Way().arrange(answers(), 1 << 20, together=TOGETHER)
    right = our_gradients(model, Prefer(PreferSettings()), work)[1]
    turned = [each for pair in zip(answers()[1::2], answers()[0::2], strict=True) for each in pair]
    wrong = our_gradients(model, Prefer(PreferSettings()), Way().arrange(turned, 1 << 20, together=TOGETHER))[1]
    assert difference(wrong, right) > 0.5


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(1, 60), st.integers(1, 3), st.booleans())
def test_neighbours_stand_in_one_forest_in_their_order(beginnings, budget, together, share):
    random = np.random.default_rng(len(beginnings))
    heads = [random.integers(0, 50, 9) for _ in range(4)]
    made = []
    for number, head in enumerate(beginnings):
        for _ in range(together):
            ids = np.concatenate((heads[head], random.integers(0, 50, 3))).astype(np.int32)
            made.append(
                Sequence(ids=ids, weights=np.r_[np.zeros(9), np.ones(3)].astype(np.float32), row_id=str(number))
            )
    found = arrange(made, budget, share=share, together=together)
    places = [place for indices, _ in found.forests for place in indices]
    assert sorted(places) == list(range(len(made)))
    for indices, _ in found.forests:
        for start in range(0, len(indices), together):
            first = indices[start]
            assert first % together == 0
            assert list(indices[start : start + together]) == list(range(first, first + together))


# --- a run -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def preferences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of questions whose better answer says yes."""
    folder = tmp_path_factory.mktemp("preferences")
    rows = [
        {"prompt": f"is {number} a number?", "chosen": "yes", "rejected": "no", "weight": 1 + number % 2}
        for number in range(60)
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    chosen = PrepareSettings(test_share=0, validation_share=0.2, columns={"weight": "weight"})
    made = prepare(
        DataSettings(train="train.jsonl"), chosen, folder=folder, store=folder / ".metier", seed=0, progress=Silent()
    )
    return made.path


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(next((run / "model").glob("*model.safetensors")))


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line["validation_loss"] for line in lines if "validation_loss" in line]


def test_pairs_choose_the_objective_and_are_learnt(run_to_end, preferences):
    run = run_to_end(plan(learning_rate=1e-3), snapshot=preferences)
    choices = {each["name"]: each for each in json.loads((run / "choices.json").read_text(encoding="utf-8"))}
    assert choices["train.objective"]["value"] == "prefer"
    found = losses(run)
    assert found[0] < np.log(2), "the loss begins at log 2: before the first step the model is the base"
    assert found[-1] < found[0]
    assert json.loads((run / "summary.json").read_text(encoding="utf-8"))["rows"] == 48


def test_before_the_first_step_the_loss_is_that_of_no_preference(run_to_end, preferences):
    for method in ("full", "lora", "prompt"):
        still = plan({"method": method}, learning_rate=1e-12, max_steps=1)
        run = run_to_end(still, name=f"still-{method}", snapshot=preferences)
        assert losses(run)[0] == pytest.approx(np.log(2), rel=0.2 if method == "prompt" else 1e-4)


def test_a_run_that_goes_on_compares_with_the_same_base(run_to_end, preferences, monkeypatch):
    whole = run_to_end(plan({"method": "lora"}, learning_rate=1e-3), name="whole", snapshot=preferences)
    asked: list[int] = []
    honest = preferring._asked

    def counted(rendered, fit, progress):
        asked.append(len(rendered))
        return honest(rendered, fit, progress)

    monkeypatch.setattr(preferring, "_asked", counted)
    parts = plan({"method": "lora"}, learning_rate=1e-3)
    run = run_to_end(parts, name="parts", snapshot=preferences)
    (run / "summary.json").unlink()
    for newest in sorted((run / "checkpoints").glob("step-*"))[1:]:
        (newest / "manifest.json").unlink()
    again = run_to_end(parts, name="parts", snapshot=preferences)
    assert asked == [96, 24], "what the base says is computed once, whenever the run is killed"
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(whole).items())


@pytest.mark.parametrize(
    "changed",
    [
        {"loss": "ipo"}, {"loss": "hinge"}, {"beta": 0.5}, {"label_smoothing": 0.2}, {"likelihood": 1.0},
    ],
    ids=str,
)  # fmt: skip
def test_every_setting_changes_the_run(changed, run_to_end, preferences):
    objective = {"name": "prefer", "prefer": changed}
    first = run_to_end(plan(objective={"name": "prefer"}), name="first", snapshot=preferences)
    second = run_to_end(plan(objective=objective), name="second", snapshot=preferences)
    assert any(not torch.equal(value, weights(second)[name]) for name, value in weights(first).items())


def test_better_answers_alone_can_be_learnt_too(run_to_end, preferences):
    run = run_to_end(plan(objective="chat", learning_rate=1e-3), snapshot=preferences)
    assert losses(run)[-1] < losses(run)[0]


def test_what_does_not_go_together_is_refused(run_to_end, preferences, tiny_snapshot):
    with pytest.raises(DataError, match=r"chats\.jsonl:\d+: a row without a better and a worse answer"):
        run_to_end(plan(objective="prefer"), snapshot=tiny_snapshot)
    with pytest.raises(SettingsError, match="label_smoothing with the objective prefer"):
        run_to_end(plan(regularise={"label_smoothing": 0.1}), snapshot=preferences)
    with pytest.raises(ValueError, match="prefer only matters with name: prefer"):
        ObjectiveSettings.model_validate({"name": "chat", "prefer": {"beta": 0.2}})
    with pytest.raises(ValueError, match="label_smoothing only matters with loss: sigmoid"):
        PreferSettings(loss="ipo", label_smoothing=0.1)


def test_what_the_base_says_belongs_to_its_rows(run_to_end, preferences, tiny_base):
    run = run_to_end(plan(max_steps=1, checks=1), snapshot=preferences)
    target = run / "base-prefers-train"
    said = load_file(target / "reference.safetensors")["nats"]
    assert said.shape == (96, 1)
    assert (said < 0).all()

    class Fit:
        model, way, arithmetic = base_model(tiny_base), Way(), CPU

    fit = cast("preferring.Fit", Fit)
    other = preferring.judged(columns(answers(), ()), fit, target=target, quantise="none", progress=Silent())
    assert other.targets.shape == (6, 1), "what is kept there belongs to other tokens"
    target.joinpath("marked").touch()
    preferring.judged(columns(answers(), ()), fit, target=target, quantise="none", progress=Silent())
    assert target.joinpath("marked").exists(), "what is known is not asked again"
    preferring.judged(columns(answers(), ()), fit, target=target, quantise="int8", progress=Silent())
    assert not target.joinpath("marked").exists(), "a base in another number format says something else"
    none = preferring.judged(columns([], ()), fit, target=target.with_name("none"), quantise="none", progress=Silent())
    assert none.targets.shape == (0, 1), "no validation rows"
    expected = [log_probability(Fit.model, each).item() for each in answers()]
    assert other.targets[:, 0] == pytest.approx(expected, rel=1e-5), "every token counts once, whatever its row weighs"
