"""How equal the saved, reloaded and merged model must be to the trained one; imports no torch."""

from pydantic import Field

from metier.core.settings import Settings
from metier.model.contract import Form


class PromoteSettings(Settings):
    """Limits of the parity certificate. KL = Kullback-Leibler divergence of the next token, trained against the hop."""

    largest_kl: float | None = Field(None, gt=0)
    """Largest KL allowed at any one label, in nats. null: 1e-5, or 0.1 where whole weights are saved in bfloat16."""

    mean_kl: float | None = Field(None, gt=0)
    """Largest mean KL over all labels, in nats. null: 1e-7, or 0.01 where whole weights are saved in bfloat16."""

    least_agreement: float | None = Field(None, ge=0, le=1)
    """Smallest share of labels where the most likely token is the same. null: 0.99, or 0.95 for weights saved in
    bfloat16."""

    merge: bool = True
    """Fold an adapter into its base, write the plain model to merged/ in the run and prove that hop too."""

    deploy: Form = "adapter"
    """What `serve.target` is handed: the `adapter` beside its base, or one `merged` model, which more servers load."""
