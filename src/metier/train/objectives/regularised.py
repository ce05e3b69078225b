"""A supervised objective with label smoothing and a divergence from the base added while training.

What is measured (a model in evaluation mode) is the plain loss, so that runs with and without can be compared.

Shapes: M = label positions of a batch, V = vocabulary.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy

from metier.forest import score
from metier.forest.pack import Batch
from metier.train.objectives.supervised import Loss, Supervised, weighted
from metier.train.settings import RegulariseSettings

Read = Callable[[torch.nn.Module, Batch], torch.Tensor]
Attention = Callable[[torch.nn.Module], AbstractContextManager[None]]


class Regularised:
    """-Σ w·(log p, smoothed) + k · Σ w·KL(base ‖ tuned).

    KL(base ‖ tuned) and not its reverse: it grows where the tuned model takes away what the base would say, so nothing
    the base knows is given up unnoticed; its reverse would allow the tuned model to keep one of many continuations.

    Args:
        plain: the objective without additions.
        settings: label_smoothing and kl_to_base.
        packed: whether the model takes packed batches.
        base: None without kl_to_base.
    """

    def __init__(
        self, plain: Supervised, settings: RegulariseSettings, *, packed: bool, base: "BaseModel | None"
    ) -> None:
        self._plain = plain
        self._settings = settings
        self._read: Read = score.logits if packed else score.logits_alone
        self._base = base

    def weight(self, batch: Batch) -> float:
        """Sum of the label weights."""
        return self._plain.weight(batch)

    def loss(self, model: torch.nn.Module, batch: Batch) -> Loss:
        """Return the loss with its additions; in evaluation mode the plain one."""
        if not model.training:
            return self._plain.loss(model, batch)
        expected = None if self._base is None else self._base.log_probabilities(self._read, batch)
        logits = score.at_least_float32(self._read(model, batch))
        smoothing = self._settings.label_smoothing
        nats = cross_entropy(logits, batch.token, reduction="none", label_smoothing=smoothing)
        if expected is not None:
            nats = nats + self._settings.kl_to_base * divergence(expected, logits)
        return weighted(nats, batch)


def divergence(expected: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return KL(expected ‖ softmax(logits)) in nats, [M], of log-probabilities [M, V] and logits [M, V]."""
    return (expected.exp() * (expected - torch.log_softmax(logits, dim=-1))).sum(dim=-1)


class BaseModel:
    """What the base says on the same batch: the model with its adapter off, or a frozen copy made now.

    Args:
        model: before its first step.
        attention: the context that a model computes in.
    """

    def __init__(self, model: torch.nn.Module, attention: Attention) -> None:
        self._adapted = model if isinstance(model, PeftModel) else None
        self._copy = None if self._adapted is not None else copy.deepcopy(model).requires_grad_(False).eval()
        self._attention = attention

    @property
    def copied_bytes(self) -> int:
        """Memory that the copy takes; 0 where an adapter is switched off instead."""
        weights = [] if self._copy is None else list(self._copy.parameters())
        return sum(weight.numel() * weight.element_size() for weight in weights)

    @torch.no_grad()
    def log_probabilities(self, read: Read, batch: Batch) -> torch.Tensor:
        """Return the base's log-probabilities [M, V] at the labels of a batch, without noise or dropout."""
        with self._as_base() as model:
            return torch.log_softmax(score.at_least_float32(read(model, batch)), dim=-1)

    @contextmanager
    def _as_base(self) -> Iterator[torch.nn.Module]:
        if self._copy is not None:
            with self._attention(self._copy):
                yield self._copy
        elif self._adapted is not None:
            was_training = self._adapted.training
            self._adapted.eval()
            try:
                with self._adapted.disable_adapter():
                    yield self._adapted
            finally:
                self._adapted.train(was_training)
