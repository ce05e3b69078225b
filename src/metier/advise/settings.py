"""What `metier advise` measures, for how long, and at which prices; imports no torch."""

from pydantic import Field

from metier.core.settings import Settings
from metier.score.prices import PriceSettings


class ChoosingSettings(Settings):
    """Which bases `metier bases` looks at, and what they are wanted for."""

    below: tuple[str, ...] = (".",)
    """Folders below which bases are looked for, relative to metier.yaml; hidden folders and links are passed over."""

    cache: bool = True
    """Look at the bases in the Hugging Face cache of this machine too."""

    commercial: bool = True
    """The tuned model is for commercial use: a base whose licence forbids that is not recommended."""

    asked: bool = True
    """Let every base whose weights are here answer, untrained, as long as `advise.seconds` last."""


class AdviseSettings(Settings):
    """The measurement before anybody trains, always on validation rows: the sealed test is not opened."""

    rows: int = Field(100, ge=4)
    """Most validation rows that every way is asked; chosen by their content and so always the same."""

    seconds: float = Field(900.0, gt=0)
    """Time for all of it; prompts take at most half, so that some is left for trainings. A way that does not get
    through all rows in time is not measured, and the report says so."""

    bases: tuple[str, ...] = ()
    """Further bases to measure beside the project's: bundled names, folders or hub ids."""

    instructions: tuple[str, ...] = ()
    """Instructions of yours to try beside the built-in ones. The best is chosen on training rows."""

    shots: int = Field(4, ge=0)
    """Training rows shown as examples in the prompt. 0: prompts with examples are not measured."""

    documents: tuple[str, ...] = ()
    """Text files (.txt, .md) or folders of them that answers may rest on, relative to metier.yaml."""

    passages: int = Field(3, ge=1)
    """Passages of the documents that are put into a prompt."""

    embeddings: str | None = None
    """Folder of a static embedding model (model.safetensors with one table, tokenizer.json). null: none is measured."""

    steps: int | None = Field(None, ge=0)
    """Steps of each quick LoRA training, on 25, 50 and 100 % of the training rows. 0: no training is measured. null:
    as many as the time left allows, at least 40 and at most three epochs."""

    max_new_tokens: int | None = Field(None, ge=1)
    """Longest answer, in tokens. null: a quarter more than the longest answer of the training rows, at most 256."""

    margin: float = Field(0.02, ge=0, lt=1)
    """A difference in score that nobody would mind: within it the simpler way is as good."""

    confidence: float = Field(0.95, gt=0.5, lt=1)
    """How often all intervals together hold the truth; each is widened for the number of ways that are compared."""

    target: float | None = Field(None, gt=0, le=1)
    """Score that you need; the curve says how many rows would reach it. null: that of the best other way."""

    prices: PriceSettings = PriceSettings()
    """Your own prices, for the cost of 1,000 requests."""

    choosing: ChoosingSettings = ChoosingSettings()
    """What `metier bases` looks at."""
