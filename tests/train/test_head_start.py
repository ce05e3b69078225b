"""A head starts from a fit: the one that scikit-learn finds, the same when a run goes on, chosen on validation rows."""

import numpy as np
import pytest
import torch

from metier.train.head_start import Held, fit

KINDS = ("classify", "multilabel", "regress")


def held(kind: str, rows: int, *, seed: int = 0, noise: float = 0.3) -> Held:
    random = np.random.default_rng(seed)
    truth = np.random.default_rng(9).normal(size=(6, 3))
    states = random.normal(size=(rows, 6)) * np.array([1, 10, 0.1, 1, 1, 1])
    said = states / np.array([1, 10, 0.1, 1, 1, 1]) @ truth + noise * random.normal(size=(rows, 3))
    wanted = {"classify": np.eye(3)[said.argmax(axis=1)], "multilabel": said > 0, "regress": said[:, :1]}[kind]
    return Held(
        states=torch.tensor(states, dtype=torch.float32),
        wanted=torch.tensor(wanted, dtype=torch.float32),
        weight=torch.ones(rows),
    )


def test_it_is_the_fit_of_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model")
    train = held("classify", 200)
    weight, why = fit("classify", train, None)
    assert "strength 0.1 (no validation rows" in why
    size = train.states.square().mean(dim=0).sqrt()
    plain = linear.LogisticRegression(C=0.1, fit_intercept=False, max_iter=1000, tol=1e-8)
    plain.fit((train.states / size).numpy(), train.wanted.argmax(dim=1).numpy())
    assert np.abs((weight * size).numpy() - plain.coef_).max() < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_head_is_fitted(kind):
    weight, _ = fit(kind, held(kind, 300), held(kind, 100, seed=1))
    fresh = held(kind, 300, seed=2)
    said = fresh.states @ weight.T
    if kind == "classify":
        right = (said.argmax(dim=1) == fresh.wanted.argmax(dim=1)).float().mean()
    elif kind == "multilabel":
        right = ((said > 0).float() == fresh.wanted).float().mean()
    else:
        right = 1 - (said - fresh.wanted).square().mean() / fresh.wanted.var()
    assert right > 0.85


def test_the_strength_is_that_of_the_validation_rows():
    """Labels of pure noise want the strongest pull; rows that tell everything the weakest."""
    train = held("classify", 60)
    _, clear = fit("classify", train, held("classify", 200, seed=1, noise=0))
    mixed = held("classify", 200, seed=1)
    shuffled = Held(states=mixed.states, wanted=mixed.wanted[torch.randperm(200)], weight=mixed.weight)
    _, noisy = fit("classify", train, shuffled)
    assert "strength 1 " in clear
    assert "strength 0.01 " in noisy


def test_rows_count_by_their_weight():
    train = held("regress", 40)
    double = torch.cat([torch.arange(40), torch.arange(10)])
    twice = Held(states=train.states[double], wanted=train.wanted[double], weight=torch.ones(50))
    weight = torch.ones(40)
    weight[:10] = 2
    heavy = Held(states=train.states, wanted=train.wanted, weight=weight)
    assert (fit("regress", twice, None)[0] - fit("regress", heavy, None)[0]).abs().max() < 1e-3
