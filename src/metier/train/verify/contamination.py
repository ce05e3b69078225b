"""No row sees another: a secret planted in one row must not move what the others predict, by a single bit."""

import math
from collections.abc import Sequence as Many

import torch

from metier.core.types import Sequence
from metier.forest.attend import inner_model
from metier.forest.descend import descend
from metier.forest.states import outputs
from metier.forest.way import Way
from metier.model.head import head_of
from metier.train.loop import Arithmetic
from metier.train.verify.gradient import budgets
from metier.train.verify.rows import plant
from metier.train.verify.verdicts import Check

NAME = "no row sees another"


def contamination(
    model: torch.nn.Module, way: Way, rows: Many[Sequence], arithmetic: Arithmetic, *, bound: float = 0.0,
    together: int = 1,
) -> Check:  # fmt: skip
    """Compare what is said of all other rows with and without the secret, for every budget.

    Where `together` sequences are a row, the other ones of the row count as others: no answer sees the one beside it.
    """
    unit = unit_of(model)
    vocabulary = inner_model(model).config.get_text_config(decoder=True).vocab_size
    planted = plant(rows, vocabulary)
    if planted is None:
        return Check(name=NAME, found=None, bound=bound, unit=unit, detail="no row has two tokens of its own")
    largest, moved = 0.0, 0.0
    for budget in budgets(rows):
        before, after = (
            at_labels(model, way, some, budget, arithmetic, together=together) for some in (rows, planted.rows)
        )
        differences = [furthest(a, b) for a, b in zip(before, after, strict=True)]
        moved = max(moved, differences.pop(planted.place))
        largest = max(largest, *differences)
    row = rows[planted.place]
    if moved == 0:
        return Check(name=NAME, found=None, bound=bound, unit=unit, detail="the secret moved not even its own row")
    detail = f"{len(row) - planted.start} tokens of {row.source or row.row_id} changed, which moved it by {moved:.1g}"
    return Check(name=NAME, found=largest, bound=bound, unit=unit, detail=detail)


def unit_of(model: torch.nn.Module) -> str:
    """Return the unit of what is said at labels."""
    return "nats" if head_of(model) is None else "logits"


def furthest(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return the largest difference; what is no number is infinitely far away."""
    return (first - second).abs().nan_to_num(nan=math.inf).max().item()


@torch.no_grad()
def at_labels(
    model: torch.nn.Module, way: Way, rows: Many[Sequence], budget: int, arithmetic: Arithmetic, *, together: int = 1
) -> list[torch.Tensor]:
    """Return what is said at the labels of each row, computed as a step computes it: -log p, or what a head says."""
    read = Way.losses if head_of(model) is None else outputs
    found: list[torch.Tensor] = [torch.empty(0)] * len(rows)
    work = way.arrange(list(rows), budget, together=together)
    with way.attention(model), arithmetic.autocast():
        for indices, forest in descend(model, work):
            said = read(way, model, forest)
            for place, index in enumerate(indices):
                found[index] = said[forest.sequence == place]
    return found
