"""From a request to what the engine reads: the template runs in the text room's sandbox; imports no torch."""

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from metier.core.errors import DataError
from metier.core.types import ChatRow, Message
from metier.engine.request import Constraint, Event, Request, Sampling
from metier.serve.refusal import Refusal
from metier.serve.wire.inference import ChatMessage, Sampled, TextPart
from metier.text import layout, thought
from metier.text.render import Renderer, conversation_of
from metier.text.tokenizer import Tokenizer


def chat_ids(messages: Sequence[ChatMessage], tools: Sequence[Mapping[str, Any]], renderer: Renderer) -> list[int]:
    """Return the tokens of a conversation up to where the assistant goes on.

    Raises:
        DataError: the template refuses it, or it is not text.
    """
    row = ChatRow(
        id="", source="messages", messages=tuple(_message(each) for each in messages),
        tools=tuple(dict(tool) for tool in tools),
    )  # fmt: skip
    conversation = conversation_of(row, renderer)
    asked = [(conversation, [(len(conversation.messages), True)])]
    (texts,) = layout.render_marked(asked, renderer.tokenizer, renderer.template)
    if isinstance(texts, DataError):
        raise texts
    return renderer.tokenizer.encode_marked(texts[0])


def plain_ids(text: str, tokenizer: Tokenizer) -> list[int]:
    """Return the tokens of a text as training reads plain text: behind the BOS, its own characters only."""
    ids = tokenizer.encode(text, special=False)
    return ids if tokenizer.bos_id is None else [tokenizer.bos_id, *ids]


def text_of(content: str | list[TextPart] | None) -> str:
    """Return a message's text."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text for part in content)


def _message(message: ChatMessage) -> Message:
    content = text_of(message.content)
    if message.role == "assistant" and message.reasoning_content:
        content = thought.before(message.reasoning_content, content)
    return Message(
        role="system" if message.role == "developer" else message.role,
        content=content,
        tool_calls=tuple(call.model_dump() for call in message.tool_calls or ()),
        name=message.name,
        tool_call_id=message.tool_call_id,
    )


def sampling(body: Sampled, vocabulary: int) -> Sampling:
    """Return how a request's tokens are drawn; a seed is made up where none is given.

    Raises:
        Refusal: `logit_bias` names something that is no token.
    """
    bias = {}
    for name, value in (body.logit_bias or {}).items():
        if not (name.isascii() and name.isdigit() and len(name) < 9 and int(name) < vocabulary):
            raise Refusal(
                400, f"logit_bias: {name[:40]!r} is no token; wanted: ids below {vocabulary}", param="logit_bias"
            )
        bias[int(name)] = value
    return Sampling(
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        top_k=body.top_k or 0,
        seed=secrets.randbits(63) if body.seed is None else body.seed,
        presence=body.presence_penalty or 0.0,
        frequency=body.frequency_penalty or 0.0,
        bias=bias,
    )


def stops_of(body: Sampled) -> tuple[str, ...]:
    """Return the texts that end an answer."""
    return (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())


def deadline(seconds: float) -> float:
    """Return the moment when nobody waits any more."""
    return time.monotonic() + seconds


def unheard(event: Event) -> None:
    """Stand where the worker puts its listener."""


__all__ = [
    "Constraint", "Request", "chat_ids", "deadline", "plain_ids", "sampling", "stops_of", "text_of", "unheard",
]  # fmt: skip
