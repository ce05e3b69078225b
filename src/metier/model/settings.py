"""What of the base is trained, and how; imports no torch."""

from typing import Annotated, Any, Literal

from pydantic import Field

from metier.core.settings import Settings


class LoraSettings(Settings):
    """What can be chosen about LoRA beside rank, alpha, dropout and targets."""

    init: Literal["default", "gaussian", "orthogonal", "mica", "pissa", "pissa-niter", "olora"] = "default"
    """How the two matrices start. `default`, `gaussian`, `orthogonal`: without effect, or nearly. `mica`: in the
    smallest singular directions of the base weight, one matrix frozen. `pissa`, `pissa-niter`, `olora`: from the
    largest directions, which are taken out of the frozen base; what is saved fits the original base all the same."""

    init_iterations: int = Field(16, ge=0)
    """pissa-niter: subspace iterations of the fast singular value decomposition; more are nearer to `pissa`."""

    rslora: bool = False
    """Scale the update by alpha / √rank instead of alpha / rank, so that a higher rank does not learn more slowly."""

    dora: bool = False
    """Learn the length of each weight column apart from its direction (DoRA); more time per step, same size."""

    rank_pattern: dict[str, Annotated[int, Field(ge=1)]] = Field({})
    """Another rank for some adapters: module name, or regular expression for it, to rank."""

    alpha_pattern: dict[str, Annotated[float, Field(gt=0)]] = Field({})
    """Another alpha for some adapters: module name, or regular expression for it, to alpha."""

    save_modules: tuple[str, ...] = ()
    """Modules trained and saved whole beside the adapters: names such as `norm`, or `embeddings` and `head` for
    whatever this base calls them. Where the two share their weights, both train as one."""


class BottleneckSettings(Settings):
    """Small modules put into the frozen base: down to `width`, through an activation, up again, added to the input."""

    width: int = Field(64, ge=1)
    """Numbers in the narrow middle of each module."""

    places: Literal["both", "attention", "mlp"] = "both"
    """Behind which blocks of each decoder layer a module stands: `both` (Houlsby) or `mlp` only (Pfeiffer)."""

    activation: Literal["gelu", "relu", "silu"] = "gelu"
    """What bends the narrow middle."""


class VirtualSettings(Settings):
    """Learnt tokens that no text has, in front of everything the model reads."""

    tokens: int = Field(20, ge=1)
    """Number of learnt tokens; each takes one place of the context."""

    text: str | None = None
    """The words that the learnt tokens start as, repeated or cut to their number. null: tokens drawn at random."""

    projection: int | None = Field(None, ge=1)
    """prefix: learn through a small network of this width, thrown away after training. null: directly."""


class PeftSettings(Settings):
    """Any method of the PEFT library by its own name and configuration."""

    type: str
    """PEFT's name of the method: `loha`, `lokr`, `oft`, `vera`, `ln_tuning`, `p_tuning` …"""

    config: dict[str, Any] = Field({})
    """The fields of that method's configuration class, as PEFT documents them. Where it has `target_modules` and none
    are set, all linear layers except the head are taken."""


class ModelSettings(Settings):
    """How the weights are updated."""

    method: Literal["auto", "full", "layers", "lora", "bottleneck", "prompt", "prefix", "ia3", "peft"] = "auto"
    """`full` trains every weight, `layers` the chosen layers whole; the others leave the base as it is: `lora` puts
    low-rank adapters beside its weights, `bottleneck` small modules behind its blocks, `prompt` learnt tokens and
    `prefix` learnt keys and values in front of every text, `ia3` a factor on keys, values and inner activations;
    `peft` is any other method of that library. `auto`: full below 50 million parameters, else lora."""

    rank: int = Field(16, ge=1)
    """LoRA: rank of each adapter matrix."""

    alpha: float | None = Field(None, gt=0)
    """LoRA: the update is scaled by alpha / rank. null: twice the rank."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """LoRA, bottleneck: share of adapter inputs (LoRA) or middles (bottleneck) zeroed at random while training."""

    targets: tuple[str, ...] | None = None
    """LoRA, IA3: names of the linear layers that get an adapter. null: all linear layers except the head (LoRA), those
    that PEFT names for this architecture (IA3)."""

    layers: int | str | tuple[int | str, ...] = "top-third"
    """layers: what is trained: decoder layers by number from 0 (`3`), range (`4-11`) or part (`top-half`, `top-third`,
    `top-4`), each with the final norm; or a pattern for names of weights or modules (`*.mlp.*`), alone; or a list."""

    lora: LoraSettings = LoraSettings()
    """LoRA beyond the settings above."""

    bottleneck: BottleneckSettings = BottleneckSettings()
    """bottleneck: shape and places of the modules."""

    virtual: VirtualSettings = VirtualSettings()
    """prompt, prefix: the learnt tokens."""

    peft: PeftSettings | None = None
    """peft: which method of the library. null: none; method `peft` needs it."""

    frozen_cache_gb: float = Field(4.0, ge=0)
    """Where the lowest layers are frozen: most gigabytes on disk for what enters the lowest layer that trains, computed
    once and read at every later pass. 0: compute the frozen layers every time."""

    gradient_checkpointing: bool | None = None
    """Recompute activations in the backward pass instead of keeping them: less memory, about a third more time.
    null: only when the run would not fit into memory without."""

    save_precision: Literal["float32", "bfloat16"] = "float32"
    """Number format of whole trained weights on disk; adapters are always float32."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the matrix products; weights that are trained stay float32. `auto`: bfloat16 on a GPU that has it,
    and on a CPU that was measured to be clearly faster in it, for bases wide enough to gain; else float32 (never TF32).
    A run keeps what was chosen when it began."""

    quantise: Literal["none", "bfloat16", "int8", "nf4", "nf4-double"] = "none"
    """Number format of the frozen base below the adapters; `full` and `layers` need `none`. `bfloat16`: half the
    memory of float32, and exactly its numbers where the base is stored so. `int8`: a quarter of the memory, and faster
    on CPUs with VNNI instructions. `nf4`: an eighth, slower (extra `qlora`); `nf4-double`: its scales in eight bits
    too. Experts that a base keeps in one tensor a layer stay in float32."""
