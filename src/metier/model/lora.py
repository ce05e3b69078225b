"""A LoRA linear in one autograd step: no copy of the output for the scaling, none for the sum, little to remember.

Shapes: N = tokens, I = inputs, O = outputs, R = rank. y = x W.T + b + s (x A.T) B.T (Hu et al. 2021, equation 3).
"""

from typing import Any, NamedTuple

import torch
from peft.tuners.lora.layer import Linear

from metier.model.autocast import is_autocast


class Frozen(NamedTuple):
    """What is not learnt: weight W [O, I], bias b [O], the scale s, and the type that products are computed in."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    scale: float
    dtype: torch.dtype


class LoraProduct(torch.autograd.Function):
    """The whole linear with its adapter."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor, frozen: Frozen, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """Return y [..., O] of x [..., I], down A [R, I] and up B [O, R].

        y has the frozen part's type; what is kept for the backward pass is x in that type and the weights as they are.
        """
        weight, bias, scale, dtype = frozen
        flat = x.reshape(-1, x.shape[-1]).to(dtype)
        wide = weight.to(dtype)
        y = torch.addmm(bias.to(dtype), flat, wide.T) if bias is not None else flat @ wide.T
        inner = flat @ down.to(dtype).T
        y.addmm_(inner, up.to(dtype).T, alpha=scale)
        context.save_for_backward(flat, inner, weight, down, up)
        context.scale, context.shape, context.dtype, context.dtype_in = scale, x.shape, dtype, x.dtype
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # pyrefly: ignore
        """Return the gradients of x, A and B."""
        flat, inner, weight, down, up = context.saved_tensors
        dtype = context.dtype
        g = gradient.reshape(-1, gradient.shape[-1])
        inside = (g @ up.to(dtype)).mul_(context.scale)
        to_x = to_down = to_up = None
        if context.needs_input_grad[0]:
            to_x = (g @ weight.to(dtype)).addmm_(inside, down.to(dtype)).view(context.shape).to(context.dtype_in)
        if context.needs_input_grad[2]:
            to_down = (inside.T @ flat).to(down.dtype)
        if context.needs_input_grad[3]:
            to_up = (inner.T @ g).mul_(context.scale).T.to(up.dtype)
        return to_x, None, to_down, to_up


class LoraLinear(Linear):
    """PEFT's LoRA linear, with the plain case computed in one step; whatever else PEFT offers is left to it."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the linear's output with its adapter's share, [..., O]."""
        plain = self._plain(x) if not args and not any(value is not None for value in kwargs.values()) else None
        if plain is None:
            return super().forward(x, *args, **kwargs)
        base = self.base_layer
        down, up = self.lora_A[plain].weight, self.lora_B[plain].weight
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if is_autocast(kind) else x.dtype
        return LoraProduct.apply(x, Frozen(base.weight, base.bias, self.scaling[plain], dtype), down, up)

    def _plain(self, x: torch.Tensor) -> str | None:
        """Return the name of the only adapter if nothing but x W.T + s (x A.T) B.T is asked for."""
        if self.disable_adapters or self.merged or len(self.active_adapters) != 1:
            return None
        name = self.active_adapters[0]
        if name not in self.lora_A or name in self.lora_variant or self.lora_bias[name]:
            return None
        dropout = self.lora_dropout[name]
        if not isinstance(dropout, torch.nn.Identity) and self.training:
            return None
        base = self.base_layer
        if type(base) is not torch.nn.Linear or base.weight.requires_grad:
            return None
        alike = x.dtype == base.weight.dtype == self.lora_A[name].weight.dtype
        return name if alike or is_autocast(x.device.type) else None


CUSTOM_MODULES: dict[type[torch.nn.Module], type[torch.nn.Module]] = {torch.nn.Linear: LoraLinear}
"""For `LoraConfig._register_custom_module`, PEFT's own way of bringing a layer class."""
