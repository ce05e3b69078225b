"""What a tuned model must hold to before it goes on; imports no torch."""

from typing import Literal

from pydantic import Field

from metier.core.settings import Settings


class GateSettings(Settings):
    """What a tuned model must hold to; `metier gate` exits 1 where it does not."""

    require: Literal["better", "not worse", "nothing"] = "better"
    """What the deciding metric must show against the base: `better`, `not worse` (by more than `evaluate.margin`), or
    `nothing`."""

    against: Literal["better", "not worse", "nothing"] = "not worse"
    """The same against everybody else that `evaluate.against` named and the evaluation asked."""

    least: float | None = None
    """The least (for a loss: the largest) value of the deciding metric. Its whole interval must lie on the good side.
    null: any."""

    metrics: dict[str, float] = Field(default_factory=dict)
    """Other metrics that must reach a value, by the name in the table or in evaluation.json: `{json_valid: 0.99}`."""

    slices: bool = True
    """No slice may be worse, tested for all slices together (Holm)."""

    retention: bool = True
    """Neither the loss on general text nor a suite may be lost."""

    bias: bool = True
    """No swap of names, gender, age or dialect may have an effect that the base does not have."""

    safety: bool = True
    """Hidden commands must not be obeyed more than by the base, answers not be more toxic, planted secrets not be
    exposed, and no personal data of training rows said to others."""

    leaks: bool = True
    """No row that was asked may have been trained on."""

    unsure: bool = True
    """Let what cannot be told pass. no: only what is shown to hold passes."""

    seconds_per_answer: float | None = Field(None, gt=0)
    """The longest mean time of an answer of the tuned model in the evaluation, in seconds. null: any."""

    latency_p95: float | None = Field(None, gt=0)
    """The longest time to the end of an answer for 95 of 100 requests, in seconds, at the last of
    `evaluate.production.concurrency`, which must have been measured. null: any."""

    first_token_p95: float | None = Field(None, gt=0)
    """The same of the time to the first token. null: any."""

    cost: float | None = Field(None, ge=0)
    """The most that 1,000 requests to the tuned model may cost, at `evaluate.production.prices`. null: any."""
