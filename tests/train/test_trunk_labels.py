"""Shared text that is learnt: every objective takes the gradient of one forest, however rows are cut into trunks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from metier.forest.arrange import arrange
from metier.forest.attend import packed
from metier.forest.grow import grow
from metier.forest.way import Way
from metier.model.adapt import adapt
from metier.model.find import find
from metier.model.load import load_base
from metier.model.settings import ModelSettings
from metier.train.loop import Arithmetic, measured, step
from metier.train.objectives.prefer import TOGETHER, Prefer
from metier.train.objectives.regularised import BaseModel, Regularised
from metier.train.objectives.reinforce import Reinforce
from metier.train.objectives.supervised import Supervised
from metier.train.settings import PreferSettings, RegulariseSettings
from tests.forest.trees import tree_rows

CPU = Arithmetic(device=torch.device("cpu"))
KINDS = ["words", "words, head apart", "smoothed", "pulled to the base", "pairs", "rewards", "rewards, pulled"]


def tuned(base):
    """A model with an adapter that says something else than its base."""
    found = find(str(base), base)
    loaded = load_base(found, device=torch.device("cpu"))
    model = adapt(loaded, found, "lora", ModelSettings(rank=4), seed=0).double().train()
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn_like(weight))
    return model


def objective(kind: str, model: torch.nn.Module):
    way = Way()
    if kind == "words, head apart":
        return Supervised(Way(plain_head=False))
    if kind == "smoothed":
        return Regularised(Supervised(way), RegulariseSettings(label_smoothing=0.2), way, base=None)
    if kind == "pulled to the base":
        return Regularised(Supervised(way), RegulariseSettings(kl_to_base=0.5), way, base=BaseModel(model, way))
    if kind == "pairs":
        return Prefer(PreferSettings(likelihood=0.5), way)
    if kind.startswith("rewards"):
        pull = 0.5 if "pulled" in kind else 0.0
        return Reinforce(way, base=BaseModel(model, way) if pull else None, pull=pull)
    return Supervised(way)


def learnt_rows(kind: str):
    """A tree of rows, an even number of them; what the base gives them, or how good they are."""
    rows = tree_rows(5, depth=3, fan=3)
    rows = rows[: len(rows) // 2 * 2]
    random = np.random.default_rng(0)
    if kind == "pairs":
        return [replace(row, target=random.normal(-20, 3, 1)) for row in rows]
    if kind.startswith("rewards"):
        return [replace(row, target=np.array([random.normal(), 1.0])) for row in rows]
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_one_forest(kind, tiny_base):
    model, rows = tuned(tiny_base), learnt_rows(kind)
    together = TOGETHER if kind == "pairs" else 1
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    chosen = objective(kind, model)
    expected: tuple[float, torch.Tensor] | None = None
    for budget in (10_000, 60, 20, 1):
        work = arrange(rows, budget, together=together)
        assert work.computed == grow(rows).tokens
        assert bool(work.trunks) == (budget < 10_000)
        assert any(len(forest.held) for _, forest in work.forests) == (budget < 10_000)
        with packed(model):
            log = step(model, chosen, work, torch.optim.SGD(trained, lr=0.0), clip=0, arithmetic=CPU)
            loss, accuracy = measured(model, chosen, [work], CPU)
        found = torch.cat([weight.grad.flatten() for weight in trained])
        if expected is None:
            expected = log.loss, found
        assert log.loss == pytest.approx(expected[0], rel=1e-7)
        assert ((found - expected[1]).norm() / expected[1].norm()).item() <= 1e-6
        if kind == "words":
            assert loss == pytest.approx(log.loss, rel=1e-7)
        assert (accuracy is None) == (kind == "pairs" or kind.startswith("rewards"))


def test_labels_that_a_trunk_forgets_would_not_pass(tiny_base):
    """The planted fault: where the labels of trunks weigh nothing, loss and gradient are others."""
    model, rows = tuned(tiny_base), learnt_rows("words")
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    found = []
    for spoilt in (False, True):
        work = arrange(rows, 20)
        if spoilt:
            for _, forest in work.forests:
                inside = torch.ones(len(forest.token), dtype=torch.bool)
                inside[forest.own] = False
                forest.weight[inside] = 0
        with packed(model):
            step(model, Supervised(), work, torch.optim.SGD(trained, lr=0.0), clip=0, arithmetic=CPU)
        found.append(torch.cat([weight.grad.flatten() for weight in trained]))
    assert ((found[1] - found[0]).norm() / found[0].norm()).item() > 0.05
