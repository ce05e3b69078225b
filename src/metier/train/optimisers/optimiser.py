"""One optimiser out of one or several of torch's, and the weights that are judged where these are not the stepped ones.

With an average (`train.regularise.ema`, or schedule-free's own) the weights that take steps are not those that are
measured and saved. `judged` puts the latter into the model for a while and then every bit of the former back, so that
it changes nothing when, or how often, somebody looks.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from metier.train.optimisers.average import Average

Weights = Mapping[str, torch.nn.Parameter]


class Pull:
    """L2 towards the start, decoupled from the gradient as AdamW's decay is: w += rate · strength · (start - w).

    Args:
        weights: by name, as they start; copied.
        strength: the factor beside the rate.
    """

    def __init__(self, weights: Weights, strength: float) -> None:
        self._strength = strength
        self._starts = {id(weight): weight.detach().clone() for weight in weights.values()}

    @torch.no_grad()
    def apply(self, groups: list[dict[str, Any]]) -> None:
        """Pull every weight; call after a step."""
        for group in groups:
            for weight in group["params"]:
                weight.lerp_(self._starts[id(weight)], min(1.0, group["lr"] * self._strength))


class Optimiser:
    """Steps the weights of a model.

    Args:
        weights: all that train, by name.
        parts: torch's optimisers; each weight belongs to one. Their groups hold `share`, a multiple of the run's rate.
        average: what is judged instead of the weights themselves; None: nothing.
        pull: what draws the weights towards their start; None: nothing.
    """

    def __init__(
        self,
        weights: Weights,
        parts: tuple[torch.optim.Optimizer, ...],
        *,
        average: Average | None = None,
        pull: Pull | None = None,
    ) -> None:
        self.weights = weights
        self.parts = parts
        self.average = average
        self._pull = pull
        self._moded: list[Any] = [part for part in parts if "train_mode" in part.defaults]
        for part in self._moded:
            part.train()

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all parts."""
        return [group for part in self.parts for group in part.param_groups]

    @property
    def averages(self) -> bool:
        """Whether the judged weights are others than those that take steps."""
        return self.average is not None or bool(self._moded)

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of every group."""
        for group in self.param_groups:
            group["lr"] = rate * group["share"]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def step(self) -> None:
        """Update the weights, then pull and average them."""
        for part in self.parts:
            part.step()
        if self._pull is not None:
            self._pull.apply(self.param_groups)
        if self.average is not None:
            self.average.update(self.weights)

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Let the model have the weights that are measured and saved inside the block."""
        if not self.averages:
            yield
            return
        stepped = [weight.detach().clone() for weight in self.weights.values()]
        self._place_judged()
        try:
            yield
        finally:
            for part in self._moded:
                part.train()
            _copy(self.weights.values(), stepped)

    def _place_judged(self) -> None:
        for part in self._moded:
            part.eval()
        if self.average is not None:
            _copy(self.weights.values(), self.average.means.values())


@torch.no_grad()
def _copy(weights: Any, values: Any) -> None:
    for weight, value in zip(weights, values, strict=True):
        weight.copy_(value)
