"""What requests cost at the user's own prices; imports no torch."""

from pydantic import Field

from metier.core.settings import Settings

REQUESTS = 1000
"""Costs are told for so many."""


class PriceSettings(Settings):
    """Your own prices, in any one currency; without them the report counts tokens and seconds."""

    input: float | None = Field(None, ge=0)
    """Price of a million tokens sent. null: not known."""

    output: float | None = Field(None, ge=0)
    """Price of a million tokens received. null: not known."""

    hour: float | None = Field(None, ge=0)
    """Price of an hour of this machine, for what runs on it. null: not known."""

    def cost(self, *, sent: float, received: float, seconds: float, by_token: bool = True) -> float | None:
        """Return what 1,000 requests cost; None: no price is known.

        Args:
            sent: tokens of one prompt.
            received: tokens of one answer.
            seconds: of this machine for one request.
            by_token: whether its tokens are paid for.
        """
        parts = []
        if by_token and self.input is not None and self.output is not None:
            parts.append(REQUESTS * (sent * self.input + received * self.output) / 1e6)
        if self.hour is not None:
            parts.append(REQUESTS * seconds / 3600 * self.hour)
        return sum(parts) if parts else None
