"""A frozen linear layer in bfloat16, as most bases are stored: half the memory, and not one number is another.

Shapes: I = inputs, O = outputs of the layer.
"""

import torch

from metier.model.quantise.unpacked import Unpacked


class HalfLinear(Unpacked, torch.nn.Linear):
    """`x @ W.T + bias` with W in bfloat16 [O, I], computed in the type of x: bfloat16 is float32 cut short."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        torch.nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        self.stored = torch.nn.Parameter(weight.detach().to(torch.bfloat16).contiguous(), requires_grad=False)
        kept = None if bias is None else torch.nn.Parameter(bias.detach().float(), requires_grad=False)
        self.register_parameter("bias", kept)

    @property
    def weight(self) -> torch.Tensor:  # pyrefly: ignore
        """The weights as they count, float32 [O, I]; a copy: writing to it changes nothing."""
        return self.weight_in(torch.float32)

    def weight_in(self, dtype: torch.dtype) -> torch.Tensor:
        """Return the weights as they count, [O, I], in a type."""
        return self.stored.detach().to(dtype)
