"""How equal the saved, reloaded, merged, quantised and served model must be to the trained one; imports no torch."""

from typing import Literal

from pydantic import Field

from metier.core.settings import Settings
from metier.model.contract import GGUF_TARGETS, Form, Target
from metier.promote.registry.settings import RegistrySettings

GgufPrecision = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]
"""llama.cpp's names of number formats. `q4_0` keeps embedding and head in `q8_0`."""
Rounding = Literal["int8", "nf4", "gguf"]
"""Ways of serving in fewer bits."""


class RoundedSettings(Settings):
    """Limits of hops that round on purpose (quantised models) or compute elsewhere (a server)."""

    largest_kl: float | None = Field(None, gt=0)
    """Largest KL allowed at any one label, in nats. null: 0.1; of eight bits 1, of four bits 5."""

    mean_kl: float | None = Field(None, gt=0)
    """Largest mean KL over all labels, in nats. null: 0.01; of eight bits 0.02, of four bits 0.2."""

    least_agreement: float | None = Field(None, ge=0, le=1)
    """Smallest share of labels where the most likely token is the same. null: 0.95; of four bits 0.8."""


class PromoteSettings(Settings):
    """Limits of the parity certificate. KL = Kullback-Leibler divergence of the next token, trained against the hop."""

    largest_kl: float | None = Field(None, gt=0)
    """Largest KL allowed at any one label, in nats. null: 1e-5, or 0.1 where whole weights are saved in bfloat16."""

    mean_kl: float | None = Field(None, gt=0)
    """Largest mean KL over all labels, in nats. null: 1e-7, or 0.01 where whole weights are saved in bfloat16."""

    least_agreement: float | None = Field(None, ge=0, le=1)
    """Smallest share of labels where the most likely token is the same, and of the trained model's right answers that
    stay right. null: 0.99, or 0.95 for weights saved in bfloat16."""

    rounded: RoundedSettings = RoundedSettings()
    """Limits of the quantised and served hops, and of exports that are loaded elsewhere."""

    merge: bool = True
    """Fold an adapter into its base, write the plain model to merged/ in the run and prove that hop too."""

    quantised: tuple[Rounding, ...] = ()
    """Prove the plain model in fewer bits too: `int8` or `nf4` as metier computes them, `gguf` by llama.cpp."""

    served: bool | None = None
    """Start `metier serve` and prove what it answers over HTTP too. null: when serve.target is `metier`."""

    gguf: GgufPrecision = "f16"
    """Number format of the matrices in GGUF files. A matrix whose rows do not fill whole blocks is `f16`."""

    shard_gb: float = Field(5.0, gt=0)
    """Largest file of the weights of a merged model, in gigabytes; more weights make more files."""

    deploy: Form = "adapter"
    """What `serve.target` is handed: the `adapter` beside its base, or one `merged` model, which more servers load."""

    registry: RegistrySettings = RegistrySettings()
    """What `metier promote` writes into a version; `metier prove` does not read it."""

    def towards(self, target: Target | None) -> "PromoteSettings":
        """Return the settings with the hops that lead to a target."""
        onwards: tuple[Rounding, ...] = ("gguf",) if target in GGUF_TARGETS else ()
        served = target == "metier" if self.served is None else self.served
        quantised = tuple(dict.fromkeys((*self.quantised, *onwards)))
        return self.model_copy(update={"quantised": quantised, "served": served})
