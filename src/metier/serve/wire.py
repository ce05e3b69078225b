"""Requests as they come over the wire. A name that is not here is refused, so nothing is ever ignored; no torch."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, field_validator

_TEXT = 1 << 20
_LIST = 4096


class Body(BaseModel):
    """A request's body: strict about names and types."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    @field_validator("*", mode="before")
    @classmethod
    def _unicode(cls, value: Any) -> Any:
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise ValueError("not valid Unicode (half a surrogate pair)") from error
        return value


class StreamOptions(Body):
    """What a stream tells beside the text."""

    include_usage: StrictBool = False


class Sampled(Body):
    """What chat and plain completions share."""

    model: str = Field(min_length=1, max_length=256)
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0)
    n: int | None = Field(None, ge=1, le=128)
    stop: str | list[str] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, float] | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, max_length=256)

    @field_validator("stop")
    @classmethod
    def _few_stops(cls, value: str | list[str] | None) -> str | list[str] | None:
        stops = [value] if isinstance(value, str) else value or []
        if len(stops) > 16 or any(not stop or len(stop) > 256 for stop in stops):
            raise ValueError("wanted at most 16 texts of 1 to 256 characters")
        return value

    @field_validator("logit_bias")
    @classmethod
    def _small_bias(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        if value and any(not -100 <= bias <= 100 for bias in value.values()):
            raise ValueError("wanted numbers from -100 to 100")
        return value


class TextPart(Body):
    """A part of a message that is text: the only kind that these models read."""

    type: Literal["text"]
    text: str


class Called(Body):
    """The function of a tool call."""

    name: str = Field(min_length=1, max_length=256)
    arguments: str


class ToolCall(Body):
    """A call that an assistant made."""

    id: str = Field(max_length=256)
    type: Literal["function"] = "function"
    function: Called


class ChatMessage(Body):
    """A turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = Field(None, max_length=256)
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = Field(None, max_length=256)
    refusal: None = None


class Function(Body):
    """A function that may be called."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: StrictBool | None = None


class Tool(Body):
    """A tool: a function."""

    type: Literal["function"]
    function: Function


class NamedFunction(Body):
    """The name of a function."""

    name: str


class NamedTool(Body):
    """The one tool that must be called."""

    type: Literal["function"]
    function: NamedFunction


class Schema(Body):
    """A JSON schema for the answer. It is followed to the letter, whether `strict` or not."""

    name: str = Field(max_length=64)
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: StrictBool | None = None


class ResponseFormat(Body):
    """What an answer must look like."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: Schema | None = None


class ChatBody(Sampled):
    """POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=_LIST)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: StrictBool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: list[Tool] | None = Field(None, max_length=128)
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: StrictBool | None = None
    response_format: ResponseFormat | None = None
    metadata: dict[str, str] | None = None


class CompletionBody(Sampled):
    """POST /v1/completions."""

    prompt: str | list[str] | list[int] | list[list[int]]
    max_tokens: int | None = Field(None, ge=0)
    echo: StrictBool | None = None
    logprobs: int | None = Field(None, ge=0, le=20)
    suffix: None = None
    best_of: Literal[1] | None = None


class EmbeddingBody(Body):
    """POST /v1/embeddings."""

    model: str = Field(min_length=1, max_length=256)
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(None, ge=1)
    user: str | None = Field(None, max_length=256)


class InputPart(Body):
    """A part of a decision's input that is text."""

    type: Literal["input_text", "output_text", "text"]
    text: str


class InputMessage(Body):
    """A turn of a decision's input."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[InputPart]
    type: Literal["message"] = "message"


class Choice(Body):
    """An answer that a choice question offers."""

    value: str | StrictBool
    description: str | None = None


class Level(Body):
    """A level of a score question, lowest first."""

    label: str = Field(min_length=1)
    description: str | None = None


class Predicate(Body):
    """A question whether something is true of the input."""

    type: Literal["predicate"]
    instructions: str
    name: str | None = None


class ChoiceQuestion(Body):
    """A question which of several it is."""

    type: Literal["choice"]
    instructions: str
    choices: list[Choice] = Field(min_length=2, max_length=256)
    name: str | None = None


class ScoreQuestion(Body):
    """A question how much of something there is."""

    type: Literal["score"]
    instructions: str
    levels: list[Level] = Field(min_length=2, max_length=256)
    name: str | None = None


class DecisionBody(Body):
    """POST /v1/decisions."""

    model: str = Field(min_length=1, max_length=256)
    input: str | list[InputMessage]
    questions: list[Predicate | ChoiceQuestion | ScoreQuestion] = Field(min_length=1, max_length=400)
    safety_identifier: str | None = Field(None, max_length=256)


class FeedbackBody(Body):
    """POST /v1/feedback: what somebody thought of an answer, by the id that it came with."""

    id: str = Field(min_length=1, max_length=128)
    thumbs: Literal["up", "down"] | None = None
    score: float | None = Field(None, ge=0, le=1)
    correction: str | None = Field(None, max_length=_TEXT)
    comment: str | None = Field(None, max_length=_TEXT)


class Hyperparameters(Body):
    """How a job trains; `auto`: as metier chooses."""

    n_epochs: Annotated[float, Field(gt=0, le=100)] | Literal["auto"] = "auto"
    batch_size: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = "auto"
    learning_rate_multiplier: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"


class Supervised(Body):
    """How a job learns from answers."""

    hyperparameters: Hyperparameters = Hyperparameters()


class Method(Body):
    """What a job does. `dpo` and `reinforcement` are not served yet."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised | None = None
    dpo: dict[str, Any] | None = None
    reinforcement: dict[str, Any] | None = None


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
    integrations: None = None
    settings: dict[str, str | float | int | bool] | None = Field(None, max_length=32)


class UploadBody(Body):
    """POST /v1/uploads."""

    bytes: int = Field(ge=1)
    filename: str = Field(min_length=1, max_length=256)
    mime_type: str = Field(max_length=128)
    purpose: str = Field(max_length=32)


class CompleteBody(Body):
    """POST /v1/uploads/ID/complete."""

    part_ids: list[str] = Field(min_length=1, max_length=_LIST)
    md5: str | None = None
