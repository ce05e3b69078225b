"""A supervised objective with label smoothing and a divergence from the base added while training.

What is measured (a model in evaluation mode) is the plain loss, so that runs with and without can be compared.

Shapes: M = labels of a forest, V = vocabulary.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import torch
from torch.nn.functional import cross_entropy

from metier.forest import score
from metier.forest.forest import Forest, Trunk
from metier.forest.way import Way
from metier.model.ways.off import adapter_off, keeps_base
from metier.train.objectives.supervised import Loss, Supervised, weighted
from metier.train.settings import RegulariseSettings

Attention = Callable[[torch.nn.Module], AbstractContextManager[None]]


class Regularised:
    """-Σ w·(log p, smoothed) + k · Σ w·KL(base ‖ tuned).

    KL(base ‖ tuned) and not its reverse: it grows where the tuned model takes away what the base would say, so nothing
    the base knows is given up unnoticed; its reverse would allow the tuned model to keep one of many continuations.

    Args:
        plain: the objective without additions.
        settings: label_smoothing and kl_to_base.
        way: how the model is computed.
        base: None without kl_to_base.
    """

    def __init__(self, plain: Supervised, settings: RegulariseSettings, way: Way, *, base: "BaseModel | None") -> None:
        self._plain = plain
        self._settings = settings
        self._way = way
        self._base = base

    def weight(self, forest: Forest) -> float:
        """Sum of the label weights."""
        return self._plain.weight(forest)

    def loss(self, model: torch.nn.Module, forest: Forest) -> Loss:
        """Return the loss with its additions; in evaluation mode the plain one."""
        if not model.training:
            return self._plain.loss(model, forest)
        expected = None if self._base is None else self._base.log_probabilities(forest)
        logits = score.at_least_float32(self._way.logits(model, forest))
        smoothing = self._settings.label_smoothing
        nats = cross_entropy(logits, forest.token, reduction="none", label_smoothing=smoothing)
        if expected is not None:
            nats = nats + self._settings.kl_to_base * divergence(expected, logits)
        return weighted(nats, forest, right=score.right(logits, forest))


def divergence(expected: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return KL(expected ‖ softmax(logits)) in nats, [M], of log-probabilities [M, V] and logits [M, V]."""
    return (expected.exp() * (expected - torch.log_softmax(logits, dim=-1))).sum(dim=-1)


class BaseModel:
    """What the base says on the same forest: the model with its adapter off, or a frozen copy made now.

    Args:
        model: before its first step.
        way: how the model is computed.
    """

    def __init__(self, model: torch.nn.Module, way: Way) -> None:
        self._adapted = model if keeps_base(model) else None
        if self._adapted is not None:
            with adapter_off(self._adapted):
                pass  # what cannot be switched off says so before the first step
        self._copy = None if self._adapted is not None else copy.deepcopy(model).requires_grad_(False).eval()
        self._way = way
        self._trunks: list[tuple[Trunk, Trunk]] = []  # those that are held, and as the base computes them

    @property
    def copied_bytes(self) -> int:
        """Memory that the copy takes; 0 where an adapter is switched off instead."""
        return 0 if self._copy is None else sum(weight.nbytes for weight in self._copy.parameters())

    @property
    def copied(self) -> list[torch.nn.Module]:
        """The copy, where there is one."""
        return [] if self._copy is None else [self._copy]

    @torch.no_grad()
    def log_probabilities(self, forest: Forest) -> torch.Tensor:
        """Return the base's log-probabilities [M, V] at the labels of a forest, without noise or dropout."""
        with self._as_base() as model:
            logits = self._way.logits(model, replace(forest, trunk=self._own_trunk(model, forest.trunk)))
        return torch.log_softmax(score.at_least_float32(logits), dim=-1)

    def _own_trunk(self, model: torch.nn.Module, trunk: Trunk | None) -> Trunk | None:
        """Return the trunk as the base computes it, once for all forests that hang from it."""
        chain = () if trunk is None else (*trunk.forest.trunks, trunk)
        held = sum(mine is other for (mine, _), other in zip(self._trunks, chain, strict=False))
        del self._trunks[held:]
        for mine in chain[held:]:
            above = self._trunks[-1][1] if self._trunks else None
            own = mine.again(replace(mine.forest, trunk=above))
            score.read_trunk(model, own)
            self._trunks.append((mine, own))
        return self._trunks[-1][1] if self._trunks else None

    @contextmanager
    def _as_base(self) -> Iterator[torch.nn.Module]:
        if self._copy is not None:
            with self._way.attention(self._copy):
                yield self._copy
        elif self._adapted is not None:
            was_training = self._adapted.training
            self._adapted.eval()
            try:
                with adapter_off(self._adapted):
                    yield self._adapted
            finally:
                self._adapted.train(was_training)
