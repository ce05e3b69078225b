"""What a request may not ask for at once, or not of whoever answers: it would have to be ignored; no torch."""

from collections.abc import Iterator

from metier.serve.refusal import Refusal, unsupported
from metier.serve.wire.inference import ChatBody, CompletionBody, EmbeddingBody, NamedTool

_STRICT = "'strict' holds there only where a call must be made; set tool_choice to 'required', or leave it out"
_SEEDS = (1 << 32) - 1
"""The last of 32 bits stands for: any."""


def check_chat(body: ChatBody) -> None:
    """Refuse what would have to be ignored in a conversation.

    Raises:
        Refusal: with the name of the parameter.
    """
    if body.max_tokens is not None and body.max_completion_tokens is not None:
        raise unsupported("max_tokens", "max_completion_tokens says the same")
    if body.top_logprobs is not None and not body.logprobs:
        raise unsupported("top_logprobs", "set logprobs too")
    if body.stream_options is not None and not body.stream:
        raise unsupported("stream_options", "this is no stream")
    if body.metadata is not None:
        raise unsupported("metadata", "nothing is stored with it; 'user' is recorded")
    _check_shape(body)
    _check_tools(body)


def _check_shape(body: ChatBody) -> None:
    shape = body.response_format
    if shape is None:
        return
    if (shape.type == "json_schema") != (shape.json_schema is not None):
        raise Refusal(400, "response_format: json_schema goes with type 'json_schema'", param="response_format")
    if shape.json_schema is not None and shape.json_schema.description is not None:
        raise unsupported("response_format.json_schema.description", "a model does not read it; say it in a message")


def _check_tools(body: ChatBody) -> None:
    if not body.tools and body.tool_choice not in (None, "none"):
        raise unsupported("tool_choice", "there are no tools")
    if body.parallel_tool_calls is not None and not body.tools:
        raise unsupported("parallel_tool_calls", "there are no tools")
    shape, calls = body.response_format, body.tools and body.tool_choice != "none"
    if calls and shape is not None and shape.type != "text":
        raise unsupported("response_format", "not together with tools; set tool_choice to 'none'")
    if calls and body.logprobs:
        raise unsupported("logprobs", "not together with tools; set tool_choice to 'none'")


def check_completion(body: CompletionBody) -> None:
    """Refuse what would have to be ignored where plain text goes on; raises as `check_chat` does."""
    if body.stream_options is not None and not body.stream:
        raise unsupported("stream_options", "this is no stream")


def check_handed(body: ChatBody | CompletionBody | EmbeddingBody, engine: str) -> None:
    """Refuse what is ignored here or by the server behind this one, which answers; raises as `check_chat` does.

    Args:
        body: the request.
        engine: kind of that server, `vllm` or `llama.cpp`.
    """
    if isinstance(body, ChatBody):
        check_chat(body)
        if body.tool_choice in (None, "auto") and any(tool.function.strict for tool in body.tools or ()):
            raise unsupported("tools", _STRICT)
    elif isinstance(body, CompletionBody):
        check_completion(body)
    if engine == "llama.cpp":
        for param, why in _unread(body):
            raise unsupported(param, f"llama.cpp {why}")


def _unread(body: ChatBody | CompletionBody | EmbeddingBody) -> Iterator[tuple[str, str]]:
    """Yield what llama.cpp's server takes and does not obey (as of its build 11549), and what it does instead."""
    if isinstance(body, EmbeddingBody):
        if body.dimensions is not None:
            yield "dimensions", "gives vectors the width of the model"
        return
    if (body.n or 1) > 1:
        yield "n", "counts the tokens of one answer only; ask once for each"
    if body.seed is not None and not 0 <= body.seed < _SEEDS:
        yield "seed", f"keeps 32 bits of it; wanted: 0 to {_SEEDS - 1}"
    if any(not token.isdecimal() for token in body.logit_bias or ()):
        yield "logit_bias", "reads what is no id of a token as text"
    yield from _unread_in_chat(body) if isinstance(body, ChatBody) else _unread_in_text(body)


def _unread_in_chat(body: ChatBody) -> Iterator[tuple[str, str]]:
    if isinstance(body.tool_choice, NamedTool):
        yield "tool_choice", "takes no name; send that tool alone, with 'required'"
    if body.parallel_tool_calls is False:
        yield "parallel_tool_calls", "may make several calls all the same; read the first"


def _unread_in_text(body: CompletionBody) -> Iterator[tuple[str, str]]:
    if isinstance(body.prompt, list) and not (body.prompt and isinstance(body.prompt[0], int)):
        yield "prompt", "counts the tokens of one prompt only; send a text, or the ids of one"
    if body.echo:
        yield "echo", "does not repeat the prompt"
    if body.logprobs is not None:
        yield "logprobs", "writes them in the form of conversations; ask at /v1/chat/completions"
    if body.max_tokens == 0:
        yield "max_tokens", "writes one token all the same"
