"""An exponential moving average of the weights that train."""

from collections.abc import Mapping

import torch


class Average:
    """Averages of weights, kept beside them.

    In the first steps less is kept than `decay` says, min(decay, (1 + n) / (10 + n)) after n updates, so that a short
    run does not measure where it started.

    Args:
        weights: by name, as they are before the first step.
        decay: share of the average that stays at each step.
    """

    def __init__(self, weights: Mapping[str, torch.nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.means = {name: weight.detach().clone() for name, weight in weights.items()}

    @torch.no_grad()
    def update(self, weights: Mapping[str, torch.nn.Parameter]) -> None:
        """Take the weights after a step in."""
        kept = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.means.values()), [weights[name].detach() for name in self.means], 1 - kept)
        self.updates += 1
