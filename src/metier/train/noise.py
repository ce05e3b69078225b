"""Noise on the embedded tokens (NEFTune, Jain et al. 2023): uniform, of size alpha / √(tokens × width)."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from metier.forest.attend import inner_model


@contextmanager
def noisy(model: torch.nn.Module, alpha: float | None, tokens: float) -> Iterator[None]:
    """Add noise to the embedded tokens of a model in training mode inside the block.

    The noise comes from torch's stream, which each step seeds by its number. A token-in-context that several rows share
    is computed once and so gets one draw.

    Args:
        model: whose input embedding is hooked.
        alpha: strength; None: no noise.
        tokens: a row's length, the same for all rows, so that the size does not depend on how rows are packed.
    """
    if alpha is None:
        yield
        return

    def disturb(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        if not module.training:
            return output
        size = alpha / math.sqrt(tokens * output.shape[-1])
        return output + torch.empty_like(output).uniform_(-size, size)

    handle = inner_model(model).get_input_embeddings().register_forward_hook(disturb)
    try:
        yield
    finally:
        handle.remove()
