"""How the loop runs; imports no torch."""

from typing import Literal

from pydantic import Field

from metier.core.settings import Settings


class TrainSettings(Settings):
    """One training run. Steps count optimiser updates; rows are sequences after rendering."""

    epochs: float | None = Field(None, gt=0)
    """Passes over the training rows. null: 3, or 1 for plain text."""

    max_steps: int | None = Field(None, ge=1)
    """Stop after this many steps, whatever `epochs` says. null: no such limit."""

    rows_per_step: int = Field(16, ge=1)
    """Rows in one optimiser step: what is averaged, however it is computed."""

    micro_batch_tokens: int | None = Field(None, ge=1)
    """Most tokens computed at once; a step is split into as many parts as needed, with exactly the same gradient.
    null: what is fast here and fits into memory."""

    learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate. null: 1e-3 below 20 million parameters, 1e-4 for larger full models, 2e-4 for LoRA."""

    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the rate falls from its peak after the warm-up: to `final_rate` times the peak, or not at all."""

    final_rate: float = Field(0.1, ge=0, le=1)
    """Rate at the last step as a share of the peak (cosine and linear)."""

    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of all steps over which the rate rises from 0 to its peak."""

    weight_decay: float = Field(0.01, ge=0)
    """AdamW decay, per step and rate, of matrices (not of norms and biases)."""

    betas: tuple[float, float] = (0.9, 0.99)
    """AdamW averages of the gradient and of its square."""

    clip: float = Field(1.0, ge=0)
    """Largest gradient norm; longer gradients are scaled down to it. 0: never."""

    checks: int = Field(10, ge=1)
    """How many times in the run the validation loss is measured and a checkpoint published."""

    patience: int | None = Field(3, ge=1)
    """Stop after this many checks without a better validation loss. null: never stop early."""

    checkpoint_every: int | None = Field(None, ge=1)
    """Steps between checkpoints. null: at every check."""

    threads: int | None = Field(None, ge=1)
    """CPU threads of the arithmetic; results are bit-identical for the same number. null: all cores."""
