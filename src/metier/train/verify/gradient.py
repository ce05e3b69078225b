"""Gradients of the same rows computed in different ways, and how far they are apart."""

import math
from collections.abc import Iterable
from collections.abc import Sequence as Many

import torch

from metier.core.types import Sequence
from metier.forest.arrange import Arrangement
from metier.forest.grow import grow, needed
from metier.train.loop import Arithmetic, gradient
from metier.train.objectives.supervised import Objective
from metier.train.optimisers.groups import trained_parameters
from metier.train.verify.exact import as_peft
from metier.train.verify.plain import PlainStep, likelihood, words
from metier.train.verify.verdicts import Check

Gradients = dict[str, torch.Tensor]

_SMALL = 1e-3
"""Share of the whole gradient below which a weight's own is rounding and not its measure (biases of keys are zero)."""

_LARGEST = 1 << 40


def forest_gradients(
    model: torch.nn.Module, objective: Objective, work: Arrangement, arithmetic: Arithmetic
) -> Gradients:
    """Return what the training step leaves at the weights; they stay as they are. Call inside `way.attention`."""
    optimiser = torch.optim.SGD(trained_parameters(model).values(), lr=0.0)
    gradient(model, objective, work, optimiser, clip=0.0, arithmetic=arithmetic)
    return _taken(model)


def plain_gradients(
    model: torch.nn.Module, rows: Many[Sequence], arithmetic: Arithmetic, step: PlainStep | None = None
) -> Gradients:
    """Return the gradient of the plain step: one padded batch, the library's attention, PEFT's adapters.

    Args:
        model: as it trains.
        rows: of the step.
        arithmetic: how it is computed.
        step: of the objective, written out. None: the likelihood of words.
    """
    model.zero_grad(set_to_none=True)
    with as_peft(model):  # the backward pass too: it may compute activations again
        (step or words(likelihood))(model, rows, arithmetic).backward()
    return _taken(model)


def _taken(model: torch.nn.Module) -> Gradients:
    """Take the gradients off the weights; a weight without one has zeros."""
    weights = trained_parameters(model)
    taken = {
        name: weight.grad if weight.grad is not None else torch.zeros_like(weight) for name, weight in weights.items()
    }
    model.zero_grad(set_to_none=True)
    return taken


def apart(ours: Gradients, plain: Gradients) -> tuple[float, str]:
    """Return the largest relative difference over the weights (infinite for no number), and the name of the weight."""
    whole = torch.stack([expected.double().norm() for expected in plain.values()]).norm()
    found = {}
    for name, expected in plain.items():
        measure = torch.maximum(expected.double().norm(), _SMALL * whole)
        difference = (ours[name].double() - expected.double()).norm() / measure
        found[name] = difference.nan_to_num(nan=math.inf).item()
    worst = max(found, key=lambda name: found[name])
    return found[worst], worst


def equal_bits(first: Iterable[torch.Tensor], second: Iterable[torch.Tensor]) -> bool:
    """Tell whether tensors are the same byte for byte."""
    return all(
        a.shape == b.shape and a.dtype == b.dtype and torch.equal(_bytes(a), _bytes(b))
        for a, b in zip(first, second, strict=True)
    )


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


def budgets(rows: Many[Sequence]) -> list[int]:
    """Return budgets from everything at once, over half of what is computed, down to every row alone."""
    total = grow(rows).tokens
    longest = max(needed(row) for row in rows)
    return [_LARGEST, *sorted({total // 2, longest, longest // 2, 1} - {0}, reverse=True)]


def judged(name: str, differences: Many[tuple[float, str]], *, bound: float, detail: str) -> Check:
    """Make a check of the largest of several differences; says in which weight it is."""
    found, worst = max(differences, key=lambda entry: entry[0])
    where = f"{detail}; largest in {worst}" if found > 0 else detail
    return Check(name=name, found=found, bound=bound, unit="relative", detail=where)
