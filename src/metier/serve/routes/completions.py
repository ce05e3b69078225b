"""POST /v1/completions: plain text goes on; with `echo` and `logprobs` the prompt's own tokens are scored too."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from metier.engine.request import Chance, End, Event, Piece
from metier.engine.request import Request as Asked
from metier.serve.asking import asking_of, conversation
from metier.serve.desk import Desk, desk_of
from metier.serve.generation import Generation, beside, check_end
from metier.serve.pool import Open
from metier.serve.prompts import deadline, plain_ids, sampling, stops_of, unheard
from metier.serve.refusal import Refusal, unsupported
from metier.serve.routes.streams import as_json, stream, while_heard
from metier.serve.wire.inference import CompletionBody
from metier.serve.wire.rules import check_completion
from metier.text.tokenizer import Tokenizer

ROUTER = APIRouter()
Written = str | list[str] | list[int] | list[list[int]]
_MOST_TOKENS = 16
_MOST_ANSWERS = 128


@ROUTER.post("/completions", tags=["infer"])
async def completions(body: CompletionBody, request: Request) -> Response:
    """Go on with plain text."""
    desk = desk_of(request)
    check_completion(body)
    if body.stream and body.echo:
        raise unsupported("echo", "not in a stream")
    chosen = desk.writer(body.model, conversation(body.user, lambda: [body.prompt]))
    asking = asking_of(request, "completions", "cmpl", body.user)
    generation = Generation(desk, asking, chosen)
    generation.ended = beside(desk, asking, chosen, lambda other: _Writing(desk, body, other).whole())
    writing = _Writing(desk, body, generation)
    if body.stream:
        return await stream(writing.chunks())
    return as_json(await while_heard(request, writing.whole()))


def prompts_of(
    value: str | list[str] | list[int] | list[list[int]], tokenizer: Tokenizer, param: str
) -> list[list[int]]:
    """Return the tokens of one prompt or of several, written as text or as tokens.

    Raises:
        Refusal: none, too many, or something that is no token.
    """
    items: list[Any] = [value] if isinstance(value, str) or (value and isinstance(value[0], int)) else list(value)
    if not 0 < len(items) <= _MOST_ANSWERS:
        raise Refusal(400, f"{param}: {len(items)} prompts; wanted: 1 to {_MOST_ANSWERS}", param=param)
    found = [plain_ids(item, tokenizer) if isinstance(item, str) else list(item) for item in items]
    if any(not ids or not all(0 <= token < tokenizer.vocabulary for token in ids) for ids in found):
        wanted = (
            f"text, or ids below {tokenizer.vocabulary} of this model's own tokenizer; a client that cuts texts by "
        )
        wanted += "another's must be told not to (LangChain's embeddings: check_embedding_ctx_length=False)"
        raise Refusal(400, f"{param}: empty, or not tokens; wanted: {wanted}", param=param)
    return found


class _Writing:
    """The answers to one request, as they become JSON."""

    def __init__(self, desk: Desk, body: CompletionBody, generation: Generation) -> None:
        self._desk = desk
        self._body = body
        self._generation = generation
        self._created = int(time.time())
        self._prompts: list[list[int]] = []
        self._tokenizer: Tokenizer | None = None

    async def _make(self, model: Open) -> Sequence[Asked]:
        return await asyncio.to_thread(self._asked, model)

    def _asked(self, model: Open) -> Sequence[Asked]:
        body = self._body
        self._tokenizer = tokenizer = model.text.renderer.tokenizer
        self._prompts = prompts_of(body.prompt, tokenizer, "prompt")
        count = body.n or 1
        if len(self._prompts) * count > _MOST_ANSWERS:
            raise Refusal(400, f"{len(self._prompts) * count} answers; wanted: at most {_MOST_ANSWERS}", param="n")
        scored = body.echo and body.logprobs is not None
        first = Asked(
            ids=self._prompts[0],
            listen=unheard,
            adapter=model.adapter,
            most_tokens=_MOST_TOKENS if body.max_tokens is None else body.max_tokens,
            stop_ids=frozenset(tokenizer.stop_ids),
            stops=stops_of(body),
            sampling=sampling(body, tokenizer.vocabulary),
            chances=body.logprobs,
            score_from=1 if scored else None,
            owner=self._generation.owner,
            deadline=deadline(self._desk.settings.limits.deadline_seconds),
            decode=tokenizer.decode,
        )
        return [
            replace(first, ids=ids, sampling=replace(first.sampling, stream=number))
            for ids in self._prompts
            for number in range(count)
        ]

    async def whole(self) -> dict[str, Any]:
        """Return the response to a request that does not stream."""
        texts: dict[int, str] = {}
        chances: dict[int, list[Chance]] = {}
        ends: dict[int, End] = {}
        async with aclosing(self._generation.events(self._make)) as events:
            async for number, event in events:
                texts[number] = texts.get(number, "") + event.text
                if isinstance(event, End):
                    check_end(event)
                    ends[number] = event
                elif event.chance is not None:
                    chances.setdefault(number, []).append(event.chance)
        choices = [
            self._choice(number, texts[number], chances.get(number, []), ends[number]) for number in sorted(ends)
        ]
        return self._frame() | {"choices": choices, "usage": self._generation.usage}

    def _choice(self, number: int, text: str, chances: list[Chance], end: End) -> dict[str, Any]:
        tokenizer = self._tokenizer
        assert tokenizer is not None
        prompt = self._prompts[number // (self._body.n or 1)]
        told: list[Chance | None] = [*chances]
        tokens = [chance.token for chance in chances]
        if self._body.echo:
            text = tokenizer.decode(prompt) + text
            told, tokens = [None, *end.prompt, *chances], [*prompt, *tokens]
        logprobs = self._logprobs(tokens, told) if self._body.logprobs is not None else None
        return {"index": number, "text": text, "logprobs": logprobs, "finish_reason": end.finish}

    def _logprobs(self, tokens: Sequence[int], chances: Sequence[Chance | None]) -> dict[str, Any]:
        words = [self._word(token) for token in tokens]
        offsets, place = [], 0
        for word in words:
            offsets.append(place)
            place += len(word)
        return {
            "tokens": words,
            "token_logprobs": [None if chance is None else max(chance.logprob, -9999.0) for chance in chances],
            "top_logprobs": [None if chance is None else self._likeliest(chance) for chance in chances],
            "text_offset": offsets,
        }

    def _likeliest(self, chance: Chance) -> dict[str, float]:
        """Return log-probabilities by text; of tokens with one text (parts of letters) the likeliest is told."""
        found: dict[str, float] = {}
        for token, logprob in chance.top:
            found.setdefault(self._word(token), logprob)
        return found

    def _word(self, token: int) -> str:
        assert self._tokenizer is not None
        return self._tokenizer.decode([token], skip_special=False)

    async def chunks(self) -> AsyncGenerator[dict[str, Any]]:
        """Yield the parts of a stream."""
        async with aclosing(self._generation.events(self._make)) as events:
            async for number, event in events:
                if isinstance(event, End):
                    check_end(event)
                yield self._frame() | {"choices": [self._part(number, event)]}
        if self._body.stream_options is not None and self._body.stream_options.include_usage:
            yield self._frame() | {"choices": [], "usage": self._generation.usage}

    def _part(self, number: int, event: Event) -> dict[str, Any]:
        chance = event.chance if isinstance(event, Piece) else None
        logprobs = self._logprobs([chance.token], [chance]) if chance is not None else None
        finish = event.finish if isinstance(event, End) else None
        return {"index": number, "text": event.text, "logprobs": logprobs, "finish_reason": finish}

    def _frame(self) -> dict[str, Any]:
        return {
            "id": self._generation.id, "object": "text_completion", "created": self._created, "model": self._body.model
        }  # fmt: skip
