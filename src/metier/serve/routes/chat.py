"""POST /v1/chat/completions."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from metier.core.errors import MetierError
from metier.engine.constrain import Grammar
from metier.engine.request import Chance, End, Event, Piece
from metier.engine.request import Request as Asked
from metier.serve.asking import asking_of, conversation
from metier.serve.calls import ToolForm
from metier.serve.desk import Desk, desk_of
from metier.serve.generation import Generation, beside, check_end
from metier.serve.pool import Open
from metier.serve.prompts import chat_ids, deadline, sampling, stops_of, unheard
from metier.serve.refusal import Refusal, of_error, unsupported
from metier.serve.routes.streams import as_json, stream, while_heard
from metier.serve.thinking import Thinking, divided
from metier.serve.wire.inference import ChatBody, Function, NamedTool
from metier.serve.wire.rules import check_chat
from metier.text.tokenizer import Tokenizer

ROUTER = APIRouter()

_LONGEST_MARK = 8
"""Tokens at the end of a prompt in which a thought may have been begun."""


@ROUTER.post("/chat/completions", tags=["infer"])
async def chat(body: ChatBody, request: Request) -> Response:
    """Go on with a conversation."""
    desk = desk_of(request)
    check_chat(body)
    chosen = desk.writer(body.model, conversation(body.who, lambda: _beginning(body)))
    asking = asking_of(request, "chat", "chatcmpl", body.who)
    generation = Generation(desk, asking, chosen)
    generation.ended = beside(desk, asking, chosen, lambda other: _Writing(desk, body, other).whole())
    writing = _Writing(desk, body, generation)
    if body.stream:
        return await stream(writing.chunks())
    return as_json(await while_heard(request, writing.whole()))


def _beginning(body: ChatBody) -> list[Any]:
    """Return the turns that all requests of a conversation have in common: up to the first of the user."""
    turns = []
    for message in body.messages:
        turns.append(message.model_dump(exclude={"provider_specific_fields"}))
        if message.role == "user":
            break
    return turns


class _Writing:
    """The answers to one request, as they become JSON."""

    def __init__(self, desk: Desk, body: ChatBody, generation: Generation) -> None:
        self._desk = desk
        self._body = body
        self._generation = generation
        self._created = int(time.time())
        self._seed = 0
        self._tokenizer: Tokenizer | None = None
        self._form: ToolForm | None = None
        self._thinking: tuple[Thinking, ...] = ()

    async def _make(self, model: Open) -> Sequence[Asked]:
        """Turn the request into what the engine reads, away from the loop: templates and grammars take their time."""
        return await asyncio.to_thread(self._asked, model)

    def _asked(self, model: Open) -> Sequence[Asked]:
        body, renderer = self._body, model.text.renderer
        self._tokenizer = tokenizer = renderer.tokenizer
        tools = [tool.model_dump(exclude_none=True) for tool in body.tools or ()]
        if tools and body.tool_choice != "none":
            self._form = model.text.tools()
        ids = chat_ids(body.messages, tools, renderer)
        rules = sampling(body, tokenizer.vocabulary)
        self._seed = rules.seed
        grammar = self._grammar(model)
        if self._answers_at_once():
            ids = [*ids, *tokenizer.encode(renderer.lead, special=False)]
        prompt = tokenizer.decode(ids[-_LONGEST_MARK:], skip_special=False)
        self._thinking = tuple(Thinking(renderer, prompt) for _ in range(body.n or 1))
        has_tools = self._form is not None
        first = Asked(
            ids=ids,
            listen=unheard,
            adapter=model.adapter,
            most_tokens=body.max_completion_tokens or body.max_tokens or 1 << 30,
            stop_ids=frozenset(tokenizer.stop_ids),
            stops=stops_of(body),
            sampling=rules,
            chances=(body.top_logprobs or 0) if body.logprobs else None,
            owner=self._generation.owner,
            deadline=deadline(self._desk.settings.limits.deadline_seconds),
            decode=lambda ids: tokenizer.decode(ids, skip_special=not has_tools),
        )
        return [
            replace(
                first,
                sampling=replace(rules, stream=number),
                constraint=grammar.fresh() if grammar is not None else None,
            )
            for number in range(body.n or 1)
        ]

    def _answers_at_once(self) -> bool:
        """Tell whether a grammar holds the answer from its first character, so that no thought can precede it."""
        shape, choice = self._body.response_format, self._body.tool_choice
        shaped = shape is not None and shape.type != "text"
        return shaped or (self._form is not None and choice not in (None, "auto"))

    def _grammar(self, model: Open) -> Grammar | None:
        body, shape, form = self._body, self._body.response_format, self._form
        try:
            if shape is not None and shape.type == "json_object":
                return model.text.grammars().json()
            if shape is not None and shape.json_schema is not None:
                return model.text.grammars().json(shape.json_schema.schema_)
        except MetierError as error:
            raise of_error(error, "response_format") from error
        if form is None:
            return None
        functions = [tool.function for tool in body.tools or ()]
        if isinstance(body.tool_choice, NamedTool):
            name = body.tool_choice.function.name
            functions = [function for function in functions if function.name == name]
            if not functions:
                raise Refusal(400, f"tool_choice: {name!r} is not among the tools", param="tool_choice")
        try:
            return calling(form, functions, model, must=body.tool_choice not in (None, "auto"))
        except MetierError as error:
            raise of_error(error, "tools") from error

    async def whole(self) -> dict[str, Any]:
        """Return the response to a request that does not stream."""
        count = self._body.n or 1
        texts = ["" for _ in range(count)]
        chances: list[list[Chance]] = [[] for _ in range(count)]
        ends: dict[int, End] = {}
        async with aclosing(self._generation.events(self._make)) as events:
            async for number, event in events:
                texts[number] += event.text
                if isinstance(event, End):
                    check_end(event)
                    ends[number] = event
                elif event.chance is not None:
                    chances[number].append(event.chance)
        choices = [self._choice(number, texts[number], chances[number], ends[number]) for number in range(count)]
        return self._frame("chat.completion") | {"choices": choices, "usage": self._generation.usage}

    def _choice(self, number: int, text: str, chances: list[Chance], end: End) -> dict[str, Any]:
        thought, answer = divided(text, self._thinking[number])
        content, calls = self._calls(answer)
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        message |= {"reasoning_content": thought} if thought else {}
        finish: str = end.finish
        if calls:
            message |= {"tool_calls": calls, "content": content or None}
            finish = "tool_calls" if end.finish == "stop" else finish
        logprobs = {"content": [self._chance(each) for each in chances]} if self._body.logprobs else None
        return {"index": number, "message": message, "logprobs": logprobs, "finish_reason": finish}

    def _calls(self, text: str) -> tuple[str, list[dict[str, Any]]]:
        if self._form is None:
            return text, []
        content, calls = self._form.read(text)
        return content, calls[:1] if self._body.parallel_tool_calls is False else calls

    async def chunks(self) -> AsyncGenerator[dict[str, Any]]:
        """Yield the parts of a stream; answers that may hold tool calls are told whole, when they are known."""
        held = ["" for _ in range(self._body.n or 1)]
        started: set[int] = set()
        async with aclosing(self._generation.events(self._make)) as events:
            async for number, event in events:
                if number not in started:
                    started.add(number)
                    yield self._chunk(number, {"role": "assistant", "content": ""})
                if isinstance(event, End):
                    check_end(event)
                for place, delta in enumerate(self._deltas(number, event, held)):
                    yield self._chunk(number, delta, event=None if place else event)
                if isinstance(event, End):
                    content, calls = self._calls(held[number])
                    if content or calls:
                        delta = {"content": content} if content else {}
                        delta |= {"tool_calls": [{"index": n, **c} for n, c in enumerate(calls)]} if calls else {}
                        yield self._chunk(number, delta)
                    finish = "tool_calls" if calls and event.finish == "stop" else event.finish
                    yield self._chunk(number, {}, finish=finish)
        if self._body.stream_options is not None and self._body.stream_options.include_usage:
            yield self._frame("chat.completion.chunk") | {"choices": [], "usage": self._generation.usage}

    def _deltas(self, number: int, event: Event, held: list[str]) -> list[dict[str, Any]]:
        """Return what an event adds to a stream; an answer that may hold tool calls is added to what is held."""
        thinking = self._thinking[number]
        parts = thinking.feed(event.text) + (thinking.end() if isinstance(event, End) else [])
        if self._form is not None:
            held[number] += "".join(text for kind, text in parts if kind == "content")
            parts = [(kind, text) for kind, text in parts if kind != "content"]
        elif not parts and isinstance(event, Piece) and event.chance is not None:
            parts = [("content", "")]
        return [{kind: text} for kind, text in parts]

    def _chunk(
        self, number: int, delta: dict[str, Any], *, event: Event | None = None, finish: str | None = None
    ) -> dict[str, Any]:
        chance = event.chance if isinstance(event, Piece) else None
        logprobs = {"content": [self._chance(chance)]} if chance is not None else None
        choice = {"index": number, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return self._frame("chat.completion.chunk") | {"choices": [choice]}

    def _frame(self, kind: str) -> dict[str, Any]:
        return {"id": self._generation.id, "object": kind, "created": self._created, "model": self._body.model}

    def _chance(self, chance: Chance) -> dict[str, Any]:
        return self._token(chance.token, chance.logprob) | {
            "top_logprobs": [self._token(token, logprob) for token, logprob in chance.top]
        }

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        assert self._tokenizer is not None
        text = self._tokenizer.decode([token], skip_special=False)
        return {"token": text, "logprob": max(logprob, -9999.0), "bytes": list(text.encode())}


def calling(form: ToolForm, functions: Sequence[Function], model: Open, *, must: bool) -> Grammar | None:
    """Return what holds calls to the schemas of their functions; where none must be made, of those that are `strict`.

    Raises:
        DataError: a schema cannot be followed.
        Refusal: a call cannot be told from text, so that nothing can be held to a schema where a call begins.
    """
    if not must and not any(function.strict for function in functions):
        return None
    free = {} if must else {"parameters": None}
    schemas = [form.schema(each.model_dump() | ({} if each.strict else free)) for each in functions]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    if must:
        return model.text.grammars().tagged(form.before, schema, form.after)
    if not form.before.strip():
        raise unsupported("tools", "this model's calls begin like text: 'strict' needs tool_choice 'required'")
    return model.text.grammars().among_text(form.before, schema, form.after)
