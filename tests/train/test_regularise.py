"""Regularisers do what they say: noise while training only, the base as it was, the average and the pull as written."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from metier.core.errors import DataError, SettingsError
from metier.core.progress import Silent
from metier.forest import score
from metier.forest.arrange import arrange
from metier.forest.attend import packed
from metier.forest.descend import descend
from metier.forest.grow import grow
from metier.forest.way import Way
from metier.model.adapt import adapt
from metier.model.find import find
from metier.model.load import load_base
from metier.model.settings import ModelSettings
from metier.text.render import open_renderer
from metier.text.settings import TextSettings
from metier.train import general, replay
from metier.train.assemble import order
from metier.train.noise import noisy
from metier.train.objectives.regularised import BaseModel, Regularised, divergence
from metier.train.objectives.supervised import Supervised
from metier.train.optimisers.average import Average
from metier.train.optimisers.build import build
from metier.train.settings import OptimiserSettings, RegulariseSettings, TrainSettings
from tests.train.conftest import plan
from tests.train.test_step import sequences


@pytest.fixture
def base(tiny_base):
    return find(str(tiny_base), tiny_base)


@pytest.fixture
def model(base):
    return load_base(base, device=torch.device("cpu")).requires_grad_(True).train()


@pytest.fixture
def batch():
    return grow(sequences([12, 20, 7]))


def total(model, batch, base_model=None, **settings) -> float:
    chosen = RegulariseSettings(**settings)
    with packed(model):
        return Regularised(Supervised(), chosen, Way(), base=base_model).loss(model, batch).total.item()


def plain(model, batch) -> float:
    with packed(model):
        return Supervised().loss(model, batch).total.item()


def test_noise_is_drawn_while_training_and_never_larger_than_said(model):
    embedding = model.get_input_embeddings()
    ids = torch.arange(20)[None]
    quiet = embedding(ids)
    with noisy(model, 5.0, tokens=25.0):
        torch.manual_seed(0)
        first = embedding(ids)
        torch.manual_seed(0)
        assert torch.equal(embedding(ids), first)
        model.eval()
        assert torch.equal(embedding(ids), quiet)
        model.train()
    bound = 5.0 / (25.0 * quiet.shape[-1]) ** 0.5
    difference = (first - quiet).abs()
    assert 0.8 * bound < difference.max().item() <= bound * 1.001
    assert torch.equal(embedding(ids), quiet), "the hook is gone"


def test_smoothing_is_that_of_torch_and_is_not_measured(model, batch):
    with packed(model):
        logits = score.logits(model, batch)
    logp = torch.log_softmax(logits, -1)
    own = -logp.gather(1, batch.token[:, None])[:, 0]
    expected = ((0.9 * own - 0.1 * logp.mean(-1)) * batch.weight).sum().item()
    assert total(model, batch, label_smoothing=0.1) == pytest.approx(expected, rel=1e-5)
    model.eval()
    assert total(model, batch, label_smoothing=0.1) == pytest.approx(plain(model, batch))


def test_the_divergence_is_that_of_the_base_from_the_tuned_model():
    torch.manual_seed(0)
    first, second = torch.randn(2, 5, 11)
    expected = torch.nn.functional.kl_div(
        torch.log_softmax(second, -1), torch.log_softmax(first, -1), reduction="none", log_target=True
    ).sum(-1)
    assert torch.allclose(divergence(torch.log_softmax(first, -1), second), expected, atol=1e-6)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_base_stays_what_it_was(method, model, base, batch):
    tuned = adapt(model, base, method, ModelSettings(method=method, dropout=0.3), seed=0).train()
    kept = BaseModel(tuned, Way())
    if method == "full":
        assert total(tuned, batch, kept, kl_to_base=1.0) == pytest.approx(plain(tuned, batch), rel=1e-5)
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if weight.requires_grad:
                weight.add_(0.3 if "lora_B" in name else 0.01)
    once, twice = (total(tuned.eval().train(), batch, kept, kl_to_base=strength) for strength in (1e-9, 2e3))
    assert twice > once + 1, "a tuned model that moved away pays"
    assert tuned.training


def test_kl_keeps_the_tuned_model_nearer(run_to_end):
    losses = {}
    for strength in (0.0, 5.0):
        run = run_to_end(plan(max_steps=12, learning_rate=1e-2, regularise={"kl_to_base": strength}), str(strength))
        losses[strength] = json.loads((run / "summary.json").read_text())["best_validation_loss"]
    assert losses[5.0] > losses[0.0], "held back from the task, and measured by the plain loss"


def test_the_average_is_the_one_that_is_written():
    weight = torch.nn.Parameter(torch.zeros(1))
    average = Average({"w": weight}, 0.5)
    expected = 0.0
    for number in range(30):
        with torch.no_grad():
            weight.add_(1.0)
        average.update({"w": weight})
        kept = min(0.5, (1 + number) / (10 + number))
        expected = kept * expected + (1 - kept) * (number + 1)
    assert average.means["w"].item() == pytest.approx(expected, rel=1e-6)


def test_the_pull_leads_back_to_the_start(model):
    start = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimiser = build(model, OptimiserSettings(name="sgd", weight_decay=0), RegulariseSettings(l2_to_base=2.0))
    with torch.no_grad():
        for weight in optimiser.weights.values():
            weight.add_(1.0)
            weight.grad = torch.zeros_like(weight)
    optimiser.set_rate(0.1)
    optimiser.step()
    for name, weight in optimiser.weights.items():
        assert torch.allclose(weight - start[name], torch.full_like(weight, 0.8), atol=1e-5)


def test_the_pull_is_not_for_adapters(model, base):
    tuned = adapt(model, base, "lora", ModelSettings(method="lora"), seed=0)
    with pytest.raises(SettingsError, match="weight_decay"):
        build(tuned, OptimiserSettings(), RegulariseSettings(l2_to_base=1.0))


def test_replay_has_its_share_of_every_step():
    settings = TrainSettings(rows_per_step=8, regularise={"replay": 0.25})
    mixed = order(settings, (20, 5), epochs=3.0, seed=0)
    assert mixed.steps == 10, "60 own rows, 6 a step"
    seen = [index for step in range(10) for index in mixed.step(step)]
    assert all(sum(index >= 20 for index in mixed.step(step)) == 2 for step in range(10))
    assert all(seen.count(index) == 3 for index in range(20))
    assert all(seen.count(index) == 4 for index in range(20, 25))
    again = order(settings, (20, 5), epochs=3.0, seed=0)
    assert again.step(7) == mixed.step(7)
    assert order(settings, (20, 5), epochs=3.0, seed=1).step(7) != mixed.step(7)
    assert mixed.epoch(9) == 3.0
    assert order(TrainSettings(rows_per_step=8), (20, 0), epochs=1.0, seed=0).steps == 3


def test_replay_needs_room():
    assert replay.count_per_step(RegulariseSettings(replay=0.01), 16) == 1
    with pytest.raises(SettingsError, match="rows_per_step"):
        replay.count_per_step(RegulariseSettings(replay=0.9), 2)


def test_bundled_rows_are_read_and_are_not_those_that_forgetting_is_measured_on():
    from metier.evaluate.retain import general_rows

    rows = general.read(general.BUNDLED)
    assert len(rows) == 240
    held_out = {json.dumps(getattr(row, "text", None) or [m.content for m in row.messages]) for row in general_rows()}
    ours = {json.dumps(getattr(row, "text", None) or [m.content for m in row.messages]) for row in rows}
    assert not held_out & ours


def test_a_file_of_general_rows_is_rendered_without_the_system_turn(tiny_base, tmp_path):
    path = tmp_path / "general.jsonl"
    path.write_text('{"text": "Rain."}\n\n{"prompt": "Hi", "completion": "Hello"}\n')
    renderer = open_renderer(tiny_base, TextSettings(system="Name the colour."))
    rendered = replay.render_general(RegulariseSettings(replay=0.5, replay_file=str(path)), renderer, Silent())
    assert len(rendered) == 2
    texts = [renderer.tokenizer.decode(rendered.sequence(number).ids.tolist()) for number in range(2)]
    assert not any("colour" in text for text in texts)


@pytest.mark.parametrize(("content", "part"), [(None, "no such file"), ("{", "general.jsonl:1"), ("3", "a int")])
def test_a_broken_file_of_general_rows_is_named(content, part, tmp_path):
    path = tmp_path / "general.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=part):
        general.read(path)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_trunk_is_read_by_the_base_too(method, model, base):
    """What hangs from keys and values of the tuned model would not be what the base says."""
    tuned = adapt(model, base, method, ModelSettings(method=method), seed=0).train()
    kept = BaseModel(tuned, Way())
    prompt = sequences([40])[0].ids
    rows = [
        dataclasses.replace(
            row,
            ids=np.concatenate([prompt, row.ids]),
            weights=np.concatenate([np.zeros(40, dtype=np.float32), row.weights]),
        )
        for row in sequences([9, 5, 17, 5])
    ]
    with torch.no_grad(), packed(tuned):
        whole = arrange(rows, 10_000)
        expected = kept.log_probabilities(whole.forests[0][1])
        for name, weight in tuned.named_parameters():
            if weight.requires_grad:
                weight.add_(0.3 if "lora_B" in name else 0.01)
        cut = arrange(rows, 20)
        assert cut.trunks
        assert len(cut.forests) > 1
        of_row = whole.forests[0][1].sequence
        for indices, forest in descend(tuned, cut):
            seen = kept.log_probabilities(forest)
            for place, index in enumerate(indices):
                assert torch.allclose(seen[forest.sequence == place], expected[of_row == index], atol=1e-4)
