"""The one step: however many micro-batches it takes, its gradient is that of one big batch."""

import math
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from metier.core import seeds
from metier.core.errors import NonFiniteError
from metier.forest.arrange import Arrangement
from metier.forest.descend import descend
from metier.model.linear import summed
from metier.train.objectives.supervised import Objective

_NEARLY = 0.99
"""Share of the largest norm from which on torch is asked: it adds a millionth to a norm before it divides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLog:
    """What a step did: `loss` in nats per unit of label weight, the gradient's norm before clipping.

    `tokens` are those of its rows, `computed` those that went through the model: each distinct one in its context once.
    `accuracy`: the share of the label weight where no token was likelier than the label, before the step; None: not
    what the objective learns.
    """

    loss: float
    gradient_norm: float
    tokens: int
    computed: int
    accuracy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """How a step computes: the device, and whether matrix products run in bfloat16."""

    device: torch.device
    bfloat16: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """The type that matrix products are computed in."""
        return torch.bfloat16 if self.bfloat16 else torch.float32

    def autocast(self) -> torch.autocast:
        """Return the context that the forward pass runs in."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16)


class Steps(Protocol):
    """What the step needs of an optimiser: ours, or one of torch."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Groups whose `params` are the weights that train."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""

    def step(self) -> Any:
        """Update the weights by their gradients."""


def step(
    model: torch.nn.Module,
    objective: Objective,
    work: Arrangement,
    optimiser: Steps,
    *,
    clip: float,
    arithmetic: Arithmetic,
) -> StepLog:
    """Take one optimiser step over all forests of `work`, as if they were one batch.

    Raises:
        NonFiniteError: the loss or the gradient is not finite; the weights are as they were.
    """
    record = gradient(model, objective, work, optimiser, clip=clip, arithmetic=arithmetic)
    optimiser.step()
    return record


def gradient(
    model: torch.nn.Module,
    objective: Objective,
    work: Arrangement,
    optimiser: Steps,
    *,
    clip: float,
    arithmetic: Arithmetic,
) -> StepLog:
    """Leave the clipped gradient of one step over `work` in the weights, as if they were one batch.

    The undivided losses are summed and divided once, by the weight of the whole step: rows of unequal length count by
    their labels, whatever micro-batch they fell into.

    Raises:
        NonFiniteError: the loss or the gradient is not finite; the weights are as they were.
    """
    weight = math.fsum(objective.weight(forest) for _, forest in work.forests)
    if weight <= 0:
        raise NonFiniteError(
            "a step without a single label", "rows with something to learn", "check `metier prepare --show 3`"
        )
    optimiser.zero_grad(set_to_none=True)
    totals, right = [], []
    with summed(model):
        for _, forest in descend(model, work, learn=True, computing=arithmetic.autocast):
            with arithmetic.autocast():
                loss = objective.loss(model, forest)
            if not bool(torch.isfinite(loss.total)):
                raise NonFiniteError(f"a loss of {loss.total.item()}", "a finite number")
            (loss.total / weight).backward()
            totals.append(loss.total.detach())
            right.append(loss.right)
    norm = _clipped([weight for group in optimiser.param_groups for weight in group["params"]], clip)
    if not math.isfinite(norm):
        raise NonFiniteError(f"a gradient of norm {norm}", "a finite number")
    total = math.fsum(value.item() for value in totals)
    accuracy = share(right, weight)
    return StepLog(
        loss=total / weight, gradient_norm=norm, tokens=work.given, computed=work.computed, accuracy=accuracy
    )


def _clipped(weights: Many[torch.nn.Parameter], most: float) -> float:
    """Bring the norm of all gradients down to `most` (0: never) and return what it was.

    What is short enough is not multiplied by one: that is a pass over every number that trains.
    """
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
    if most and norm > most * _NEARLY:
        torch.nn.utils.clip_grads_with_norm_(weights, most, norm)
    return norm.item()


def share(right: Many[torch.Tensor | None], weight: float) -> float | None:
    """Return the share of a weight that is right, of what each forest found; None: it was not looked for."""
    found = [value.item() for value in right if value is not None]
    return math.fsum(found) / weight if found else None


def seed_step(seed: int, step: int) -> None:
    """Key the random stream (dropout) by the step, so that a resumed run draws what the uninterrupted one drew."""
    torch.manual_seed(seeds.key("step", seed, step))


@torch.no_grad()
def measured(
    model: torch.nn.Module, objective: Objective, held_out: Many[Arrangement], arithmetic: Arithmetic
) -> tuple[float, float | None]:
    """Return the loss in nats per unit of label weight over held-out rows, and the accuracy as `StepLog` has it."""
    was_training = model.training
    model.eval()
    total, weight, right = 0.0, 0.0, []
    for work in held_out:
        with arithmetic.autocast():
            for _, forest in descend(model, work):
                loss = objective.loss(model, forest)
                total += loss.total.item()
                weight += loss.weight
                right.append(loss.right)
    model.train(was_training)
    return total / weight, share(right, weight)
