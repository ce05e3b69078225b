"""Where a head starts: fitted to what the frozen base holds of the training rows, not at zero.

A head that starts at zero pulls its base about before it can tell anything apart; fitted first, training begins from
what the base offers already (Kumar et al. 2022, "Fine-tuning can distort pretrained features and underperform
out-of-distribution"). It is the fit that the evaluation holds against the tuned model, without an intercept.

Shapes: R = rows, E = width of the base, K = outputs.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from metier.core import artefact, seeds
from metier.core.progress import Progress
from metier.core.types import Reasoned
from metier.forest.states import row_states
from metier.model.head import head_of
from metier.text.rendered import Rendered
from metier.text.targets import HeadKind
from metier.train.objectives.classify import losses

_KIND = "head-start"
_MOST_ROWS = 10_000
_STRENGTHS = (0.01, 0.1, 1.0)
"""Inverse of the pull towards zero, as in the usual logistic regression; from the strongest pull to the weakest."""
_WITHOUT_VALIDATION = 1
_MOST_STEPS = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """What a base holds of rows, `states` float32 [R, E], what a head should say, `wanted` [R, K], `weight` [R]."""

    states: torch.Tensor
    wanted: torch.Tensor
    weight: torch.Tensor


def start(
    model: torch.nn.Module, kind: HeadKind, run: Path, *, rows: tuple[Rendered, Rendered], progress: Progress
) -> Reasoned:
    """Give a model's head its start, in place; kept in the run, so that a run that goes on started from the same.

    Args:
        model: with a head, before any adapter.
        kind: what the head says.
        run: the run's folder.
        rows: the training rows and the validation rows, each with its target.
        progress: who listens.
    """
    target = run / _KIND
    head = head_of(model)
    assert isinstance(head, torch.nn.Linear)
    if not artefact.exists(target, _KIND):
        with progress.task("read the base's states and fit a head", 2) as bar:
            train, validation = (_hold(model, part) for part in rows)
            bar.advance(1)
            weight, why = fit(kind, train, validation)
            bar.advance(1)
        with artefact.publish(target, kind=_KIND, facts={"why": why}) as folder:
            save_file({"weight": weight}, str(folder / "weight.safetensors"))
    manifest = artefact.verify(target, _KIND)
    with torch.no_grad():
        head.weight.copy_(load_file(str(target / "weight.safetensors"))["weight"])
    return Reasoned(name="train.head", value="fitted to the frozen base", reason=manifest.facts["why"])


def _hold(model: torch.nn.Module, rendered: Rendered) -> Held | None:
    """Read at most 10,000 rows; None without rows."""
    if not len(rendered):
        return None
    order = sorted(seeds.permutation(len(rendered), "head-start")[:_MOST_ROWS].tolist())
    chosen = [rendered.sequence(place) for place in order]
    found = dict(row_states(model, chosen, through_head=False))
    return Held(
        states=torch.cat([found[place].float().cpu() for place in range(len(chosen))]),
        wanted=torch.from_numpy(np.stack([sequence.target for sequence in chosen if sequence.target is not None])),
        weight=torch.tensor([float(sequence.weights.sum()) for sequence in chosen]),
    )


def fit(kind: HeadKind, train: Held | None, validation: Held | None) -> tuple[torch.Tensor, str]:
    """Fit a linear head without an intercept, float32 [K, E]; its strength is chosen on the validation rows.

    Logistic regression for classes and labels, ridge regression for numbers, each on states scaled to the same size,
    each strength starting where the one before it ended.
    """
    assert train is not None
    shares = train.weight / train.weight.sum()
    size = (shares @ train.states.square()).sqrt().clamp_min(1e-9)
    weight = torch.zeros(train.wanted.shape[1], len(size))
    tried: list[tuple[float, float, torch.Tensor]] = []
    for strength in _STRENGTHS:
        weight = _fit_one(kind, train.states / size, train, weight, strength)
        seen = 0.0 if validation is None else _mean(kind, (validation.states / size) @ weight.T, validation).item()
        tried.append((seen, strength, weight))
    _, strength, weight = tried[_WITHOUT_VALIDATION] if validation is None else min(tried, key=lambda each: each[0])
    why = "no validation rows to choose it" if validation is None else "chosen on the validation rows"
    name = "ridge" if kind == "regress" else "logistic"
    rows = len(train.states)
    return (weight / size).contiguous(), f"{name} regression on {rows:,} training rows, strength {strength:g} ({why})"


def _fit_one(kind: HeadKind, states: torch.Tensor, held: Held, start: torch.Tensor, strength: float) -> torch.Tensor:
    weight = start.clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS([weight], max_iter=_MOST_STEPS, history_size=20, line_search_fn="strong_wolfe")
    pull = 1 / (2 * strength * float(held.weight.sum()))

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = _mean(kind, states @ weight.T, held) + pull * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimiser.step(loss)  # pyrefly: ignore
    return weight.detach()


def _mean(kind: HeadKind, said: torch.Tensor, held: Held) -> torch.Tensor:
    """Return the mean loss of the rows by their weight; of several labels the sum, since each has its own pull."""
    rows = losses(kind, said, held.wanted.to(said)) * (said.shape[1] if kind == "multilabel" else 1)
    return (rows * held.weight).sum() / held.weight.sum()
