"""What is measured of the models as a service; imports no torch."""

from pydantic import Field

from metier.core.settings import Settings
from metier.score.prices import PriceSettings


class ProductionSettings(Settings):
    """Base and tuned model as a service: how fast, how much memory, at what cost."""

    requests: int = Field(0, ge=0)
    """Held-out rows that are asked at each concurrency, at most, each once; answers are timed from the request on. 0:
    nothing is measured. A 95th percentile with both ends of its interval needs 72 rows, a 99th 368."""

    concurrency: tuple[int, ...] = Field((1, 4), min_length=1)
    """How many requests are on their way at once; measured one after the other. Costs by the hour are those of the
    last."""

    prompt: str | None = None
    """A text file with the system prompt that you would give the base instead of tuning it, relative to metier.yaml:
    the base is timed and paid with it, and what the tuned model spares is counted. null: the same prompt."""

    prices: PriceSettings = PriceSettings()
    """Your own prices, for the cost of 1,000 requests."""
