"""What of the base is trained, and how; imports no torch."""

from typing import Literal

from pydantic import Field

from metier.core.settings import Settings


class ModelSettings(Settings):
    """How the weights are updated."""

    method: Literal["auto", "full", "lora", "layers"] = "auto"
    """`full` trains every weight, `lora` low-rank adapters beside frozen weights, `layers` the chosen layers whole.
    `auto`: full below 50 million parameters, else lora."""

    rank: int = Field(16, ge=1)
    """LoRA: rank of each adapter matrix."""

    alpha: float | None = Field(None, gt=0)
    """LoRA: the update is scaled by alpha / rank. null: twice the rank."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """LoRA: share of adapter inputs zeroed at random while training."""

    targets: tuple[str, ...] | None = None
    """LoRA: names of the linear layers that get an adapter. null: all linear layers except the head."""

    layers: tuple[int, ...] | Literal["top-half", "top-third"] = "top-third"
    """layers: which decoder layers are trained (by number from 0, or the top part); the final norm is trained too."""

    gradient_checkpointing: bool | None = None
    """Recompute activations in the backward pass instead of keeping them: less memory, about a third more time.
    null: only when the run would not fit into memory without."""

    save_precision: Literal["float32", "bfloat16"] = "float32"
    """Number format of whole trained weights on disk; adapters are always float32."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the matrix products; weights that are trained stay float32. `auto`: bfloat16 on a GPU that has it,
    float32 on a CPU (where only float32 is bit-reproducible at useful speed)."""
