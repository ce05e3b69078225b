"""Preferences in the plain way: what the base says of an answer, and the loss of pairs, written out a second time.

Shapes: S = sequences (even ones better, odd ones worse), K = places that predict a label in any of them.
"""

from collections.abc import Sequence as Many

import numpy as np
import torch

from metier.core.types import Sequence
from metier.train.fit import Fit
from metier.train.settings import PreferSettings
from metier.train.verify.exact import as_peft
from metier.train.verify.plain import PlainLoss, plain_logp, the_base
from metier.train.verify.verdicts import Check

NAME = "what the base says = plain padded pass"


@torch.no_grad()
def asked(fit: Fit, rows: Many[Sequence], *, bound: float) -> Check:
    """Compare what a run keeps of its base with a plain pass of the base. The model must be as before the first step.

    Args:
        fit: the run.
        rows: its pairs, with what it keeps.
        bound: of the largest difference, as a share of an answer's nats (of at least one).
    """
    model = fit.model
    was_training = model.training
    model.eval()
    with as_peft(model), the_base(model):
        logp, weights = plain_logp(model, rows, fit.arithmetic)
    model.train(was_training)
    plain = _sums(logp, weights).double()
    kept = _kept(rows).to(plain)
    differences = ((kept - plain).abs() / plain.abs().clamp(min=1.0)).nan_to_num(nan=torch.inf)
    worst = rows[int(differences.argmax())]
    detail = f"{len(rows)} answers; furthest: {worst.source or worst.row_id}"
    return Check(name=NAME, found=differences.max().item(), bound=bound, unit="relative", detail=detail)


def loss_of(settings: PreferSettings) -> PlainLoss:
    """Return the loss of pairs as the papers have it (docs/objectives.md), pair by pair."""

    def loss(rows: Many[Sequence], logp: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        said, kept = _sums(logp, weights), _kept(rows).to(logp)
        lengths = (weights > 0).sum(dim=1)
        total, divisor = logp.new_zeros(()), 0.0
        for better in range(0, len(rows), 2):
            worse, weight = better + 1, float(rows[better].weights.max())
            h = (said[better] - kept[better]) - (said[worse] - kept[worse])
            total = total + weight * (_of_pair(h, settings) - settings.likelihood * said[better] / lengths[better])
            divisor += weight
        return total / divisor

    return loss


def _of_pair(h: torch.Tensor, settings: PreferSettings) -> torch.Tensor:
    beta, wrong = settings.beta, settings.label_smoothing
    if settings.loss == "ipo":
        return (h - 0.5 / beta) ** 2
    if settings.loss == "hinge":
        return torch.clamp(1 - beta * h, min=0)
    right = torch.log1p(torch.exp(-beta * h))
    return (1 - wrong) * right + wrong * torch.log1p(torch.exp(beta * h))


def _sums(logp: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the log-probability of each answer in nats, [S]: each of its tokens counts once, whatever a row weighs."""
    return torch.where(weights > 0, logp, 0.0).sum(dim=1)


def _kept(rows: Many[Sequence]) -> torch.Tensor:
    """Return what a run keeps of its base, float64 [S]."""
    return torch.tensor([float(np.asarray(row.target).item()) for row in rows], dtype=torch.float64)
