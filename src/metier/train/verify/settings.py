"""How much `metier verify` looks at; imports no torch."""

from pydantic import Field

from metier.core.settings import Settings


class VerifySettings(Settings):
    """The proof of the engine. More rows and tokens prove more, and need more memory: it computes in float64."""

    rows: int = Field(8, ge=2)
    """Training rows that are looked at, evenly spread over all."""

    tokens: int = Field(512, ge=16)
    """Tokens of a row that are looked at; of a longer row the beginning and what stands before its last label."""

    steps: int = Field(4, ge=2)
    """Steps of the short training that is interrupted, goes on, and must end as the one that was not."""
