"""Go through an arrangement from its trunks down: each is computed before what hangs from it, and left behind it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch

from metier.forest import score
from metier.forest.arrange import Arrangement
from metier.forest.forest import Forest, Trunk


def descend(
    model: torch.nn.Module,
    work: Arrangement,
    *,
    learn: bool = False,
    computing: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Iterator[tuple[tuple[int, ...], Forest]]:
    """Yield (indices of sequences, their forest on the model's device), with the trunks above it computed.

    Args:
        model: call inside `attend.packed(model)` where there is a trunk.
        work: a step.
        learn: carry the gradients that the forests left at a trunk through it, once the last of them is done with.
        computing: the context that a trunk is computed in.
    """
    device = next(model.parameters()).device
    held: list[Trunk] = []
    try:
        for indices, forest in work.forests:
            chain = forest.trunks
            _leave(held, sum(mine is other for mine, other in zip(held, chain, strict=False)), learn=learn)
            for trunk in chain[len(held) :]:
                trunk.forget()  # what a step that was refused half-way may have left
                held.append(trunk)
                with computing():
                    score.read_trunk(model, trunk)
            yield indices, forest.to(device)
        _leave(held, 0, learn=learn)
    finally:
        _leave(held, 0, learn=False)


def _leave(held: list[Trunk], stay: int, *, learn: bool) -> None:
    """Leave the lowest trunks, down to so many that stay."""
    while len(held) > stay:
        trunk = held.pop()
        if learn:
            trunk.backward()
        else:
            trunk.forget()
