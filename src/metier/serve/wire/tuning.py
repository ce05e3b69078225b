"""Files and fine-tuning jobs as they come over the wire; no torch."""

from typing import Annotated, Any, Literal

from pydantic import Field

from metier.serve.wire.body import Body, Count, Nothing

_LIST = 4096


_MOST = 10**12
Setting = str | bool | Annotated[int, Field(ge=-_MOST, le=_MOST)] | Annotated[float, Field(ge=-_MOST, le=_MOST)]
"""A value of metier.yaml."""


class Hyperparameters(Body):
    """How a job trains; `auto`: as metier chooses. `learning_rate_multiplier`: a factor on the rate it would choose."""

    n_epochs: Annotated[float, Field(gt=0, le=100)] | Literal["auto"] = "auto"
    batch_size: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = "auto"
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=1000)] | Literal["auto"] = "auto"


class Supervised(Body):
    """How a job learns from answers."""

    hyperparameters: Hyperparameters = Hyperparameters()


class PreferenceHyperparameters(Hyperparameters):
    """How a job learns from preferences; a small `beta` may lead far from the base."""

    beta: Annotated[float, Field(gt=0, le=1000)] | Literal["auto"] = "auto"


class Preferences(Body):
    """How a job learns from better and worse answers."""

    hyperparameters: PreferenceHyperparameters = PreferenceHyperparameters()


class ReinforcementHyperparameters(Hyperparameters):
    """How a job learns from rewards. `compute_multiplier`: of the eight answers that are drawn to each prompt."""

    eval_interval: Annotated[int, Field(ge=1, le=10**6)] | Literal["auto"] = "auto"
    eval_samples: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = "auto"
    compute_multiplier: Annotated[float, Field(gt=0, le=100)] | Literal["auto"] = "auto"
    reasoning_effort: Literal["default", "low", "medium", "high"] = "default"


class Reinforcement(Body):
    """How a job learns from rewards, and what gives them."""

    grader: dict[str, Any]
    hyperparameters: ReinforcementHyperparameters = ReinforcementHyperparameters()
    response_format: dict[str, Any] | None = None


class JudgeSampling(Body):
    """What a grader may say about how its judge answers."""

    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    max_completions_tokens: Count | None = None
    reasoning_effort: str | None = Field(None, max_length=16)


class GraderBody(Body):
    """POST /v1/fine_tuning/alpha/graders/validate."""

    grader: dict[str, Any]


class TrialBody(GraderBody):
    """POST /v1/fine_tuning/alpha/graders/run: what `grader` says of one answer, `model_sample`, to the row `item`."""

    model_sample: str = Field(max_length=1 << 20)
    item: dict[str, Any] | None = None


class Method(Body):
    """What a job does."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised | None = None
    dpo: Preferences | None = None
    reinforcement: Reinforcement | None = None


class JobBody(Body):
    """POST /v1/fine_tuning/jobs. `settings`: further settings of metier.yaml, such as {"train.learning_rate": 1e-3}."""

    model: str = Field(min_length=1, max_length=256)
    training_file: str = Field(max_length=64)
    validation_file: str | None = Field(None, max_length=64)
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    seed: int | None = Field(None, ge=0, lt=2**31)
    suffix: str | None = Field(None, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$")
    metadata: dict[str, str] | None = Field(None, max_length=16)
    integrations: Nothing | None = None
    settings: dict[str, Setting] | None = Field(None, max_length=32)


class UploadBody(Body):
    """POST /v1/uploads."""

    bytes: int = Field(ge=1, le=1 << 40)
    filename: str = Field(min_length=1, max_length=256)
    mime_type: str = Field(max_length=128)
    purpose: str = Field(max_length=32)


class CompleteBody(Body):
    """POST /v1/uploads/ID/complete."""

    part_ids: list[str] = Field(min_length=1, max_length=_LIST)
    md5: str | None = None
