"""Distillation: what a run learns from its teacher, beside a plain pass of the base over the same long prompts."""

from collections.abc import Sequence as Many

import torch

from metier.core.types import Sequence
from metier.train.fit import Fit
from metier.train.objectives.distil import Distil
from metier.train.verify.exact import as_peft
from metier.train.verify.gradient import budgets
from metier.train.verify.plain import teacher
from metier.train.verify.verdicts import Check

NAME = "what the teacher says = plain padded pass"


@torch.no_grad()
def taught(fit: Fit, rows: Many[Sequence], *, bound: float) -> Check:
    """Compare the distributions of a run's teacher with those of the base. The model must be as before the first step.

    Args:
        fit: the run.
        rows: each with what the teacher sees.
        bound: of the probability that stands elsewhere, at any label.
    """
    assert isinstance(fit.objective, Distil)
    model, was_training = fit.model, fit.model.training
    model.eval()
    with as_peft(model):
        plain = teacher(model, rows, fit.arithmetic)
    furthest = 0.0
    with fit.way.attention(model), fit.arithmetic.autocast():
        for budget in budgets(rows)[:2]:
            for indices, forest in fit.way.arrange(list(rows), budget).forests:
                said = fit.objective.expected(forest.to(fit.arithmetic.device))
                expected = torch.cat([plain[index] for index in indices])
                elsewhere = (said.double().exp() - expected.double().exp()).abs().sum(dim=1) / 2
                furthest = max(furthest, elsewhere.nan_to_num(nan=torch.inf).max().item())
    model.train(was_training)
    tokens = sum(len(row.partner) for row in rows if row.partner is not None)
    detail = f"{sum(map(len, plain))} labels behind {tokens:,} tokens of long prompts and answers"
    return Check(name=NAME, found=furthest, bound=bound, unit="probability", detail=detail)
