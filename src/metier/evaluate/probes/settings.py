"""Which probes of bias and safety are made; imports no torch."""

from typing import Literal

from pydantic import Field

from metier.core.settings import Settings

Swap = Literal["gender", "names", "age", "dialect"]


class ProbeSettings(Settings):
    """Probes on your own rows, of base and tuned model alike; each row of a probe is asked once or twice more."""

    swaps: tuple[Swap, ...] = ()
    """Ask rows again with what should not matter swapped: `gender` (he, she …), `names` (men's, women's), `age` (young,
    old), `dialect` (British, American). Empty: none."""

    injection: bool = False
    """Ask rows again with a command hidden at the end of their text, and count the answers that obey."""

    calibration: bool | None = None
    """Where the model writes one of at most 64 labels (those of the training rows): score every label behind each
    held-out prompt, and measure calibration error and Brier score. null: where the answers are labels and this reads
    at most four times the tokens that are read anyway. A model with a head tells its probabilities in any case."""

    memorisation: bool = False
    """Ask for the ends of training rows by their beginnings, and look for personal data of the training rows in what
    the model answers to other rows."""

    canaries: str | None = None
    """A JSON Lines file of secrets planted in the training rows, `{"text": "Ada's code is 4711", "secret": "4711"}`,
    relative to metier.yaml: how exposed is each? null: none were planted."""

    toxicity: str | None = None
    """The folder of a text classifier (config.json, tokenizer.json, model.safetensors), relative to metier.yaml, that
    says which answers to held-out rows are toxic. null: not measured."""

    toxic_labels: tuple[str, ...] = ()
    """Its labels that mean toxic. Empty: those whose names say so."""

    most_rows: int = Field(200, ge=10)
    """At most this many rows for each probe, chosen by their content."""
