"""The other side of the proof: one padded batch through the library's own classes, with losses written out again.

Shapes: R = rows, T = tokens of the longest, K = places that predict a label in any row, V = vocabulary; C = outputs of
a head.
"""

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Many
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from metier.core.types import Sequence
from metier.forest.attend import inner_model
from metier.model.ways.off import adapter_off, keeps_base
from metier.text.targets import HeadKind
from metier.train.loop import Arithmetic

PlainLoss = Callable[[Many[Sequence], torch.Tensor, torch.Tensor], torch.Tensor]
"""Divided loss of rows, of the log-probabilities and weights [R, K] of their labels; what nobody learns weighs 0."""

PlainStep = Callable[[torch.nn.Module, Many[Sequence], Arithmetic], torch.Tensor]
"""Divided loss of rows as a model computes it in one padded batch."""


class Said(NamedTuple):
    """Logits [R, K, V], at least float32; what stands there, `token` int64 [R, K], and its `weight` float64 [R, K]."""

    logits: torch.Tensor
    token: torch.Tensor
    weight: torch.Tensor


def said(model: torch.nn.Module, rows: Many[Sequence], arithmetic: Arithmetic) -> Said:
    """Return what a model says at every place with a label in any row.

    Padding stands behind every row, where causal attention never looks.
    """
    ids, weights = _padded([row.ids for row in rows], 0), _padded([row.weights for row in rows], 0)
    ids, weights = ids.long().to(arithmetic.device), weights.double().to(arithmetic.device)
    keep = torch.nonzero(weights[:, 1:].any(dim=0))[:, 0]
    with arithmetic.autocast():
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits
    return Said(_exact(logits), ids[:, keep + 1], weights[:, keep + 1])


def words(loss: PlainLoss) -> PlainStep:
    """Return the step of a loss on words."""

    def step(model: torch.nn.Module, rows: Many[Sequence], arithmetic: Arithmetic) -> torch.Tensor:
        logp, weights = plain_logp(model, rows, arithmetic)
        return loss(rows, logp, weights)

    return step


def plain_logp(
    model: torch.nn.Module, rows: Many[Sequence], arithmetic: Arithmetic
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probabilities of what stands at every place with a label, and the weights there, both [R, K]."""
    logits, token, weight = said(model, rows, arithmetic)
    return torch.log_softmax(logits, dim=-1).gather(2, token[..., None])[..., 0], weight


def likelihood(rows: Many[Sequence], logp: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean negative log-likelihood."""
    return -(logp * weights.to(logp.dtype)).sum() / weights.sum().item()


def headed(kind: HeadKind) -> PlainStep:
    """Return the step of a head: the library's own model of sequences, which looks for the last token by itself."""
    return partial(_headed, kind)


def _headed(kind: HeadKind, model: torch.nn.Module, rows: Many[Sequence], arithmetic: Arithmetic) -> torch.Tensor:
    found = _outputs(model, rows, arithmetic)
    wanted = torch.from_numpy(np.stack([row.target for row in rows if row.target is not None])).to(found)
    weight = torch.tensor([float(row.weights[-1]) for row in rows], dtype=torch.float64, device=found.device)
    if kind == "classify":
        losses = found.logsumexp(dim=1) - (wanted * found).sum(dim=1)
    elif kind == "multilabel":
        losses = (torch.logaddexp(found, found.new_zeros(())) - wanted * found).mean(dim=1)
    else:
        losses = ((found - wanted) ** 2).mean(dim=1)
    return (losses * weight.to(losses)).sum() / weight.sum().item()


def _outputs(model: torch.nn.Module, rows: Many[Sequence], arithmetic: Arithmetic) -> torch.Tensor:
    """Return what the head says of each row without its label, [R, C]; row by row where nothing may be padded."""
    pad = inner_model(model).config.get_text_config().pad_token_id
    prompts = [row.ids[:-1] for row in rows]
    found = []
    for batch in [prompts] if pad is not None else [[prompt] for prompt in prompts]:
        with arithmetic.autocast():
            ids = _padded(batch, pad or 0).long().to(arithmetic.device)
            found.append(model(input_ids=ids, use_cache=False).logits)
    return _exact(torch.cat(found))


def distilled(model: torch.nn.Module, rows: Many[Sequence], arithmetic: Arithmetic) -> torch.Tensor:
    """Return the divergence of what a model says from what its base says behind the long prompts."""
    expected = teacher(model, rows, arithmetic)
    logits, _, weight = said(model, rows, arithmetic)
    total, divisor = logits.new_zeros(()), 0.0
    for row, own, told in zip(logits, weight, expected, strict=True):
        here = own > 0
        student = torch.log_softmax(row[here], dim=-1)
        total = total + (own[here].to(told) * (told.exp() * (told - student)).sum(dim=-1)).sum()
        divisor += own.sum().item()
    return total / divisor


@torch.no_grad()
def teacher(model: torch.nn.Module, rows: Many[Sequence], arithmetic: Arithmetic) -> list[torch.Tensor]:
    """Return the base's log-probabilities [labels, V] behind the long prompt of each row.

    Where whole weights train the base is the model as it is: call before a step.
    """
    long = [row.partner for row in rows if row.partner is not None]
    with the_base(model):
        logits, _, weight = said(model, long, arithmetic)
    return [torch.log_softmax(row[own > 0], dim=-1) for row, own in zip(logits, weight, strict=True)]


@contextmanager
def the_base(model: torch.nn.Module) -> Iterator[None]:
    """Let a model answer as its base inside the block: what stands beside the base's weights is switched off."""
    if not keeps_base(model):
        yield
        return
    with adapter_off(model):
        yield


def _exact(logits: torch.Tensor) -> torch.Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _padded(arrays: Many[np.ndarray], value: int) -> torch.Tensor:
    """Return arrays as rows [R, T], filled up behind with a value."""
    found = np.full((len(arrays), max(map(len, arrays))), value, dtype=arrays[0].dtype)
    for row, array in zip(found, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(found)
