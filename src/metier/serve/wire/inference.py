"""Requests that ask a model to write, as they come over the wire; no torch."""

from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, field_validator

from metier.serve.wire.body import Body, Count, Nothing, Token

_LIST = 4096


class StreamOptions(Body):
    """What a stream tells beside the text."""

    include_usage: StrictBool = False
    include_obfuscation: Literal[False] | None = None


class Sampled(Body):
    """What chat and plain completions share."""

    model: str = Field(min_length=1, max_length=256)
    max_tokens: Count | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, le=1 << 20)
    n: int | None = Field(None, ge=1, le=128)
    stop: str | list[str] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
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

    @property
    def who(self) -> str | None:
        """Who asks."""
        return self.user


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


class Beside(Body):
    """What litellm keeps of an answer that it has no name for; it comes with the answer when that is sent back."""

    refusal: None = None


class ChatMessage(Body):
    """A turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = Field(None, max_length=256)
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = Field(None, max_length=256)
    refusal: None = None
    audio: None = None
    function_call: None = None
    annotations: Nothing | None = None
    reasoning_content: str | None = None
    provider_specific_fields: Beside | None = None


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
    """POST /v1/chat/completions. `store`, `service_tier` and `modalities` may say what is so anyway.

    `prompt_cache_key` asks for what is done without it: prompts that begin alike find what was computed of them.
    """

    messages: list[ChatMessage] = Field(min_length=1, max_length=_LIST)
    max_completion_tokens: Count | None = None
    logprobs: StrictBool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: list[Tool] | None = Field(None, max_length=128)
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: StrictBool | None = None
    response_format: ResponseFormat | None = None
    store: Literal[False] | None = None
    service_tier: Literal["auto", "default"] | None = None
    modalities: list[Literal["text"]] | None = Field(None, max_length=1)
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = Field(None, max_length=256)
    prompt_cache_key: str | None = Field(None, max_length=256)

    @property
    def who(self) -> str | None:
        """Who asks, by the newer name or by the older."""
        return self.safety_identifier or self.user


class CompletionBody(Sampled):
    """POST /v1/completions."""

    prompt: str | list[str] | list[Token] | list[list[Token]]
    max_tokens: int | None = Field(None, ge=0, le=1 << 20)
    echo: StrictBool | None = None
    logprobs: int | None = Field(None, ge=0, le=20)
    suffix: None = None
    best_of: Literal[1] | None = None


class EmbeddingBody(Body):
    """POST /v1/embeddings."""

    model: str = Field(min_length=1, max_length=256)
    input: str | list[str] | list[Token] | list[list[Token]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Count | None = None
    user: str | None = Field(None, max_length=256)

    @field_validator("input")
    @classmethod
    def _says_something(cls, value: Any) -> Any:
        if "" in ([value] if isinstance(value, str) else value):
            raise ValueError("an empty text has no vector; wanted texts of a character or more")
        return value

    @property
    def who(self) -> str | None:
        """Who asks."""
        return self.user
